"""OpenAI's own Python package against `kvasir serve`: what its users do, and that it understands the answers.

Usage: openai_package.py URL, the server's address. `cargo xtask test --only clients` starts one.
"""

import json
import sys
import urllib.request

import openai
from prometheus_client.parser import text_string_to_metric_families

MODEL = "smollm2"
MESSAGES = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": "Name a colour of the sky."},
]


def chat(client, **options):
    options = {"model": MODEL, "messages": MESSAGES, "max_tokens": 16, "temperature": 0, **options}
    return client.chat.completions.create(**options)


def a_chat_is_answered(client):
    answer = chat(client)
    assert answer.object == "chat.completion" and answer.model == MODEL
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 16


def a_stream_is_the_whole_answer(client):
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    # The package's helper takes an answer that was cut off for an error.
    options = {"model": MODEL, "messages": MESSAGES, "max_tokens": 99, "temperature": 0, "stop": "."}
    with client.chat.completions.stream(**options) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content.startswith(text.split(".")[0])


def several_answers_with_a_seed_repeat(client):
    options = {"n": 3, "temperature": 1.0, "seed": 5}
    first, second = (chat(client, **options) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in second.choices]
    assert len(set(texts)) > 1, texts


def log_probabilities_are_there(client):
    answer = chat(client, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for token in content:
        assert len(token.top_logprobs) == 3 and token.logprob <= 0
        # Greedy: the chosen one is the likeliest.
        assert token.top_logprobs[0].token == token.token
    text = b"".join(bytes(token.bytes) for token in content).decode()
    assert text.startswith(answer.choices[0].message.content)


def an_answer_keeps_to_a_schema(client):
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["blue", "red"]}, "sure": {"type": "boolean"}},
        "required": ["colour", "sure"],
        "additionalProperties": False,
    }
    json_schema = {"name": "colour", "schema": schema, "strict": True}
    answer = chat(
        client,
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": json_schema},
    )
    found = json.loads(answer.choices[0].message.content)
    assert found["colour"] in ("blue", "red") and isinstance(found["sure"], bool), found


LAMP = {
    "type": "object",
    "properties": {"lamp": {"enum": ["red", "green"]}, "on": {"type": "boolean"}},
    "required": ["lamp", "on"],
    "additionalProperties": False,
}
SWITCH = {"type": "function", "function": {"name": "switch", "description": "A lamp.", "parameters": LAMP}}


def tools_are_called(client):
    options = {"tools": [SWITCH], "max_tokens": 200, "parallel_tool_calls": False}
    named = {"type": "function", "function": {"name": "switch"}}
    for choice, reason in [("required", "tool_calls"), (named, "stop")]:
        answer = chat(client, tool_choice=choice, **options).choices[0]
        assert answer.finish_reason == reason, answer
        [call] = answer.message.tool_calls
        assert call.function.name == "switch" and call.id and call.type == "function"
        arguments = json.loads(call.function.arguments)
        assert arguments["lamp"] in ("red", "green") and isinstance(arguments["on"], bool)
        with client.chat.completions.stream(
            model=MODEL, messages=MESSAGES, temperature=0, tool_choice=choice, **options
        ) as stream:
            streamed = stream.get_final_completion().choices[0]
        assert streamed.message.tool_calls[0].function.arguments == call.function.arguments
        assert streamed.finish_reason == reason
        # What a client got goes back as it is, with what the tool says.
        result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
        more = [*MESSAGES, answer.message, result]
        assert chat(client, messages=more, tools=[SWITCH], tool_choice="none").choices[0].message.content


def vllms_own_fields_are_understood(client):
    plain = chat(client, max_tokens=8)
    longer = chat(client, max_tokens=24, extra_body={"min_tokens": 20, "repetition_penalty": 1.3})
    assert longer.usage.completion_tokens >= 20 > plain.usage.completion_tokens


def a_response_is_answered(client):
    options = {"model": MODEL, "input": "Name a colour of the sky.", "instructions": "You are brief."}
    options = {**options, "max_output_tokens": 12, "temperature": 0, "store": False}
    whole = client.responses.create(**options)
    assert whole.object == "response" and whole.output_text
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    events = list(client.responses.create(stream=True, **options))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text
    assert events[0].type == "response.created" and events[-1].response.output_text == text


def a_text_is_continued(client):
    options = {"model": MODEL, "prompt": ["The sea is", "Snow is"], "temperature": 0, "logprobs": 2}
    whole = client.completions.create(max_tokens=6, **options)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert all(len(choice.logprobs.tokens) == 6 for choice in whole.choices)
    texts = ["", ""]
    for chunk in client.completions.create(max_tokens=6, stream=True, **options):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


def a_text_is_scored(client):
    """As lm-evaluation-harness asks for it: the log-probabilities of a text behind its context."""
    options = {"model": MODEL, "prompt": "The sea is blue.", "temperature": 0, "logprobs": 1, "seed": 1}
    scored = client.completions.create(max_tokens=1, echo=True, **options).choices[0]
    logprobs = scored.logprobs
    assert scored.text.startswith(options["prompt"]) and "".join(logprobs.tokens) == scored.text
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    for token, logprob, top in list(zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs))[1:-1]:
        assert logprob == top[token] <= max(top.values()) <= 0
    alone = client.completions.create(max_tokens=0, echo=True, **options).choices[0]
    assert alone.text == options["prompt"] and alone.logprobs.tokens == logprobs.tokens[:-1]


def the_model_is_listed(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def errors_are_the_packages_own(client):
    def fails(kind, **options):
        try:
            chat(client, **options)
        except kind as error:
            return error
        raise AssertionError(f"{options} passed")

    assert fails(openai.BadRequestError, temperature=-1).status_code == 400
    assert "nobody" in fails(
        openai.BadRequestError,
        tools=[SWITCH],
        tool_choice={"type": "function", "function": {"name": "nobody"}},
    ).message
    assert fails(openai.NotFoundError, model="gpt-4").status_code == 404
    stranger = client.with_options(api_key="wrong")
    try:
        chat(stranger)
    except openai.AuthenticationError:
        return
    raise AssertionError("a wrong key was taken")


def metrics_can_be_scraped(url, num_requests):
    with urllib.request.urlopen(f"{url}/metrics") as page:
        text = page.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    success = families["vllm:request_success"]
    assert sum(sample.value for sample in success.samples) >= num_requests, success
    missing = [name for name in VLLMS_METRICS if f"vllm:{name}" not in families]
    assert not missing, missing
    strangers = [name for name in families if name.removeprefix("vllm:") not in VLLMS_METRICS]
    assert not strangers, strangers
    buckets = [s for s in families["vllm:time_to_first_token_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets[-1].labels["le"] == "+Inf" and buckets[-1].value >= num_requests


# As vLLM 0.33 has them, without those of features that come with an option (LoRA, lives of KV blocks).
VLLMS_METRICS = """
num_requests_running num_requests_waiting num_requests_waiting_by_reason kv_cache_usage_perc engine_sleep_state
prefix_cache_queries prefix_cache_hits external_prefix_cache_queries external_prefix_cache_hits num_preemptions
prompt_tokens prompt_tokens_cached prompt_tokens_by_source generation_tokens request_success admission_rejections
time_to_first_token_seconds inter_token_latency_seconds request_time_per_output_token_seconds
e2e_request_latency_seconds request_queue_time_seconds request_prefill_time_seconds request_decode_time_seconds
request_inference_time_seconds iteration_tokens_total request_prompt_tokens request_generation_tokens
request_max_num_generation_tokens request_params_n request_params_max_tokens request_num_preemptions
request_prefill_kv_computed_tokens cache_config_info
""".split()

CHECKS = [
    a_chat_is_answered,
    a_stream_is_the_whole_answer,
    several_answers_with_a_seed_repeat,
    log_probabilities_are_there,
    an_answer_keeps_to_a_schema,
    tools_are_called,
    vllms_own_fields_are_understood,
    a_response_is_answered,
    a_text_is_continued,
    a_text_is_scored,
    the_model_is_listed,
    errors_are_the_packages_own,
]


def main():
    url, key = sys.argv[1:]
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    for check in CHECKS:
        check(client)
        print(check.__name__)
    metrics_can_be_scraped(url, num_requests=len(CHECKS))
    print("metrics_can_be_scraped")


if __name__ == "__main__":
    main()
