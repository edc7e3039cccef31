"""What a server is started with; settings come from the environment."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ServerConfig(BaseModel):
    """Where it listens, and what it takes at most.

    `rate`, `burst`: requests a second of one person or program, and how many at once. `unknown_rate`, `unknown_burst`:
    of one address whose token is none, or that brings none. `trust_proxy`: addresses of proxies whose X-Forwarded-For
    says who asks. `ready`: a file descriptor to which one byte is written when it listens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    rate: float = Field(default=20.0, gt=0)
    burst: int = Field(default=100, ge=1)
    unknown_rate: float = Field(default=0.5, gt=0)
    unknown_burst: int = Field(default=20, ge=1)
    body_bytes: int = Field(default=1_000_000, ge=1)
    body_seconds: float = Field(default=30.0, gt=0)
    threads: int = Field(default=10, ge=1, le=12)
    tls_certificate: str | None = None
    tls_key: str | None = None
    trust_proxy: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can ask."""
        return self.host in LOOPBACK
