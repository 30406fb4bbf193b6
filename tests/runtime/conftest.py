"""What the tests of sessions share."""

from ..tensorrt_fixtures import bindings, known, plugins  # noqa: TID252  # the tests are no package

__all__ = ["bindings", "known", "plugins"]  # fixtures of another place
