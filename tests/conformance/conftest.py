from tests.server.conftest import anyio_backend, repository  # noqa: F401  # the same fixtures
