"""How hypothesis searches in the tests of this room."""

from hypothesis import HealthCheck, settings

settings.register_profile("quant", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quant")
