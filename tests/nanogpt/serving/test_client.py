"""OpenAI's client, unchanged, against a live server."""

import json

import httpx
import openai
import pytest
from served import alone, by_hand

from nanogpt.serving.settings import Limits

NAME = "tale-1"


def client_of(server, **options):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, **options)


@pytest.fixture
def server(live):
    return live()


@pytest.fixture
def client(server):
    with client_of(server) as client:
        yield client


def test_models(client):
    assert [model.id for model in client.models.list()] == [NAME]
    found = client.models.retrieve(NAME)
    assert (found.id, found.object, found.owned_by, found.context) == (NAME, "model", "nanogpt", 11)
    with pytest.raises(openai.NotFoundError, match="did you mean 'tale-1'"):
        client.models.retrieve("tale-2")
    with pytest.raises(openai.NotFoundError) as error:
        client.completions.create(model="gpt-4", prompt="")
    assert error.value.code == "model_not_found"


def test_the_same_text_as_sample(client, run):
    found = client.completions.create(
        model=NAME, prompt=["hello", "the"], max_tokens=30, n=2, seed=5, temperature=0.7, top_p=0.9, stop=["ll", "o w"]
    )
    settings = {"samples": 2, "seed": 5, "temperature": 0.7, "top_p": 0.9, "stop": ("ll", "o w")}
    wanted = [text for prompt in ("hello", "the") for text in alone(run, prompt, 30, **settings)]
    assert [choice.text for choice in found.choices] == wanted
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.usage.prompt_tokens == 8
    assert found.usage.total_tokens == 8 + found.usage.completion_tokens
    assert (found.object, found.model, found.system_fingerprint) == ("text_completion", NAME, "tale-1-step-1-float32")


def test_the_settings_beyond_openai(client, run):
    more = {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.4}
    found = client.completions.create(model=NAME, prompt="he", max_tokens=20, seed=1, extra_body=more)
    assert [found.choices[0].text] == alone(run, "he", 20, seed=1, temperature=1.0, **more)
    found = client.completions.create(model=NAME, prompt="hé", seed=1, extra_body={"unknown": "skip"})
    assert [found.choices[0].text] == alone(run, "h", 16, seed=1, temperature=1.0)


@pytest.mark.parametrize("prompt", ["hello", "", [3, 1, 4], ["hello"], [[3, 1, 4]]])
def test_all_forms_of_a_prompt(client, run, prompt):
    found = client.completions.create(model=NAME, prompt=prompt, max_tokens=8, seed=1, echo=True)
    decoded = run.tokenizer.decode([3, 1, 4])
    beginning = {"hello": "hello", "": "", "['hello']": "hello"}.get(str(prompt), decoded)
    assert [found.choices[0].text] == [beginning + text for text in alone(run, beginning, 8, seed=1, temperature=1.0)]
    assert found.usage.prompt_tokens == len(beginning)


def test_a_stream_is_the_same_text(client):
    asked = {"model": NAME, "prompt": ["hello", "o"], "max_tokens": 40, "n": 2, "seed": 8, "stop": "ll", "echo": True}
    whole = client.completions.create(**asked, logprobs=2)
    texts, ends, tokens = [""] * 4, {}, [[] for _ in range(4)]
    with client.completions.create(**asked, logprobs=2, stream=True, stream_options={"include_usage": True}) as stream:
        *parts, last = stream
    for part in parts:
        [choice] = part.choices
        assert choice.index not in ends
        assert part.usage is None
        # A piece of text comes together with its tokens.
        for offset in choice.logprobs.text_offset:
            assert len(texts[choice.index]) <= offset < len(texts[choice.index]) + len(choice.text)
        texts[choice.index] += choice.text
        tokens[choice.index] += choice.logprobs.tokens
        if choice.finish_reason:
            ends[choice.index] = choice.finish_reason
    assert texts == [choice.text for choice in whole.choices]
    assert tokens == [choice.logprobs.tokens for choice in whole.choices]
    assert [ends[index] for index in range(4)] == [choice.finish_reason for choice in whole.choices]
    assert last.choices == []
    assert last.usage == whole.usage
    assert len({part.id for part in parts}) == 1


def test_why_a_text_ends(client, live, endless):
    found = client.completions.create(model=NAME, prompt="hello", max_tokens=200, seed=5, n=3)
    for choice in found.choices:
        assert choice.finish_reason == "stop"  # its end-of-document token
    with client_of(live(run=endless)) as other:
        found = other.completions.create(model=NAME, prompt="hello", seed=5)
        assert (found.choices[0].finish_reason, found.usage.completion_tokens) == ("length", 16)
        first = found.choices[0].text[3]
        found = other.completions.create(model=NAME, prompt="hello", seed=5, stop=first)
        assert found.choices[0].finish_reason == "stop"
        assert first not in found.choices[0].text


def test_logprobs_are_the_models(client, run):
    found = client.completions.create(
        model=NAME, prompt="hello there", max_tokens=9, seed=2, temperature=0.4, logprobs=3, echo=True
    )
    logprobs, ids = found.choices[0].logprobs, run.tokenizer.encode(found.choices[0].text).tolist()
    assert "".join(logprobs.tokens) == found.choices[0].text
    assert logprobs.text_offset == list(range(len(ids)))
    assert logprobs.token_logprobs[0] is None
    assert logprobs.top_logprobs[0] is None
    wanted = by_hand(run.model, ids)
    for i, row in enumerate(wanted, 1):
        token = logprobs.tokens[i]
        assert logprobs.token_logprobs[i] == pytest.approx(row[ids[i]].item(), abs=1e-4)
        top, best = row.topk(3)
        likeliest = dict(zip([run.tokenizer.decode([one]) for one in best.tolist()], top.tolist()))
        likeliest[token] = row[ids[i]].item()
        assert logprobs.top_logprobs[i] == pytest.approx(likeliest, abs=1e-4)


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"prompt": "h4ppy €"}, "prompt", "'4' 'p' 'y' '€'"),
        ({"prompt": [99]}, "prompt", "token id 99"),
        ({"prompt": []}, "prompt", "list of prompts is empty"),
        ({"prompt": "h" * 41}, "prompt", "prompts of 41 tokens; at most 40"),
        ({"prompt": ["h"] * 4}, "prompt", "4 prompts in one request; at most 3"),
        ({"max_tokens": 51}, "max_tokens", "at most 50"),
        ({"max_tokens": 0}, "max_tokens", "echo"),
        ({"n": 10}, "n", "ask for 10 texts; at most 9"),
        ({"temperature": 2.1}, "temperature", "a number from 0 to 2"),
        ({"logprobs": 11}, "logprobs", "a whole number from 0 to 10"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "up to 4 texts"),
        ({"suffix": "x"}, "suffix", "left out"),
        ({"best_of": 2}, "best_of", "n is 1"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "set stream to true"),
        ({"extra_body": {"temprature": 1}}, "temprature", "did you mean 'temperature'?"),
        ({"extra_body": {"n": "2"}}, "n", "a whole number, 1 or more"),
    ],
)
def test_bad_fields_are_named(limited, asked, param, words):
    with pytest.raises(openai.BadRequestError) as error:
        limited.completions.create(**{"model": NAME, "prompt": "he"} | asked)
    assert error.value.param == param
    assert words in error.value.body["message"]
    assert error.value.type == "invalid_request_error"


def test_fields_that_ask_for_nothing_are_accepted(limited, run):
    nothing = {"n": 1.0, "max_tokens": None, "suffix": None, "logit_bias": {}, "best_of": 1}
    nothing |= {"frequency_penalty": 0, "presence_penalty": 0}
    found = limited.completions.create(model=NAME, prompt="he", seed=1, user="ada", **nothing)
    assert [found.choices[0].text] == alone(run, "he", 16, seed=1, temperature=1.0)


@pytest.fixture
def limited(live):
    with client_of(live(limits=Limits(max_tokens=50, prompt_tokens=40, prompts=3, queue=4))) as client:
        yield client


def test_too_many_at_once(live, endless):
    server = live(rows=2, limits=Limits(queue=1, max_tokens=10**6), run=endless)
    with client_of(server) as client:
        streams = [client.completions.create(model=NAME, prompt="", max_tokens=10**6, n=3, stream=True)]
        next(iter(streams[0]))
        with pytest.raises(openai.RateLimitError) as error:
            client.completions.create(model=NAME, prompt="")
        assert error.value.code == "queue_full"
        assert error.value.response.headers["retry-after"] == "1"
        streams[0].close()


def test_an_error_on_the_way_ends_the_stream(live, endless):
    server = live(run=endless, grace_seconds=0.1)
    with client_of(server) as client:
        stream = client.completions.create(model=NAME, prompt="", max_tokens=4096, stream=True)
        next(iter(stream))
        server.engine.close()
        with pytest.raises(openai.APIError, match="stopping"):
            list(stream)


def test_tokens(client, run):
    found = client.post("/tokenize", cast_to=object, body={"model": NAME, "prompt": "hello"})
    ids = run.tokenizer.encode("hello").tolist()
    assert found == {"model": NAME, "count": 5, "tokens": ids, "texts": list("hello")}
    with pytest.raises(openai.BadRequestError, match="'4'"):
        client.post("/tokenize", cast_to=object, body={"model": NAME, "prompt": "4"})
    with pytest.raises(openai.BadRequestError, match="'prompt' is missing"):
        client.post("/tokenize", cast_to=object, body={"model": NAME})


def test_a_stream_as_it_is_on_the_wire(server):
    body = {"model": NAME, "prompt": "hello", "stream": True, "max_tokens": 3}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        events = "".join(answer.iter_text()).split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        assert json.loads(event.removeprefix("data: "))["object"] == "text_completion"
