"""What can be asked of the platform: one implementation a verb, for the command line and for the API.

A verb takes a request (a pydantic model), acts for somebody at a `Desk`, and answers with a document (another one).
Who asks was identified before, and may do it, or `carry_out` refuses and writes that down.
"""
