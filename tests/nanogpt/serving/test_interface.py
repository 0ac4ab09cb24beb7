import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nanogpt.serving.settings import Limits

NAME = "tale-1"


def test_figures(live):
    server = live()
    body = {"model": NAME, "prompt": "hello", "max_tokens": 3, "n": 2, "seed": 1}
    made = httpx.post(f"{server.url}/v1/completions", json=body).json()["usage"]["completion_tokens"]
    httpx.post(f"{server.url}/v1/completions", json=body | {"n": 0})
    httpx.get(f"{server.url}/some/path")
    answer = httpx.get(f"{server.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }

    def value(name, **labels):
        return samples[(name, *sorted(labels.items()))]

    assert value("nanogpt_tokens_total", model=NAME) == made
    assert value("nanogpt_prompt_tokens_total", model=NAME) == 10
    assert value("nanogpt_places", model=NAME) == 5
    assert value("nanogpt_running", model=NAME) == value("nanogpt_waiting", model=NAME) == 0
    assert value("nanogpt_requests_total", path="/v1/completions", status="200") == 1
    assert value("nanogpt_requests_total", path="/v1/completions", status="400") == 1
    assert value("nanogpt_requests_total", path="other", status="404") == 1
    assert value("nanogpt_first_token_seconds_count", model=NAME) == 1
    assert value("nanogpt_request_seconds_count", path="/v1/completions") == 2


def test_each_server_has_its_own_figures(live):
    first, second = live(), live()
    httpx.post(f"{first.url}/v1/completions", json={"model": NAME, "prompt": "he"})
    assert 'nanogpt_tokens_total{model="tale-1"} 0.0' in httpx.get(f"{second.url}/metrics").text
    assert 'nanogpt_tokens_total{model="tale-1"} 0.0' not in httpx.get(f"{first.url}/metrics").text


@pytest.mark.slow
def test_responses_match_the_description(live):
    """schemathesis sends valid and invalid requests made from the description, and checks the responses."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import CHECKS

    server = live(limits=Limits(max_tokens=64, prompt_tokens=500))
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    few = settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    seen = []

    def check(case):
        if case.method == "POST" and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE:
            case.body["model"] = NAME  # a random one would never exist
        answer = case.call()
        seen.append((case.method, answer.status_code))
        # A schema cannot say which characters a model knows, nor that fields go together.
        case.validate_response(answer, excluded_checks=[CHECKS.get_one("positive_data_acceptance")])

    for found in schema.get_all_operations():
        operation = found.ok()
        # Where no body is sent, none can be wrong.
        wrong = [schemathesis.GenerationMode.NEGATIVE] if operation.method == "post" else []
        for mode in (schemathesis.GenerationMode.POSITIVE, *wrong):
            few(given(case=operation.as_strategy(generation_mode=mode))(check))()
    assert {("POST", 200), ("POST", 400), ("GET", 200), ("GET", 404)} <= set(seen)
    assert max(status for _, status in seen) < 500
