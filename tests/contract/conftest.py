from tests.export.conftest import checkpoint_of, data  # noqa: F401  # the same fixtures
