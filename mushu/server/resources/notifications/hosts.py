"""Apple's production or its sandbox: decided here, and nowhere else."""

from dataclasses import dataclass

from mushu.server.keys.scopes import Environment


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of Apple's push service, without a slash at their end."""

    production: str
    sandbox: str

    def of(self, environment: Environment, *, use_sandbox: bool) -> str:
        """Return where the notifications of a tenant go; a test notification never reaches production."""
        if environment is Environment.LIVE and not use_sandbox:
            return self.production
        return self.sandbox
