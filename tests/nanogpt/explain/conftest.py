import pytest
from kinds import KINDS, model_of


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(request.param)
