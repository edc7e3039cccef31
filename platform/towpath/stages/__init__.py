"""One function a file: Candidate in, Candidate out, one Entry appended."""
