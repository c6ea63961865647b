"""The post office of the tests of delivery: a verb is tried on scripted destinations, and under the same promises."""

from tests.server.delivery.conftest import post, shelf

__all__ = ["post", "shelf"]
