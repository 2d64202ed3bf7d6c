"""guidellm, and `kvasir bench serve` beside it, against a `kvasir serve`: their counts agree with the server's.

Usage: load.py URL KVASIR MODEL FOLDER: the server's address, the command, the model's file, a folder for results.
`cargo xtask test --long --only clients` starts a server.
"""

import json
import pathlib
import subprocess
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

NUM_REQUESTS = 12
CONCURRENCY = 4
PROMPT_TOKENS = 64
OUTPUT_TOKENS = 16


def counters(url):
    """What the server has counted so far: prompt tokens, generated tokens, finished requests."""
    with urllib.request.urlopen(f"{url}/metrics") as page:
        text = page.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    names = ["vllm:prompt_tokens", "vllm:generation_tokens", "vllm:request_success"]
    return [sum(s.value for s in families[name].samples if s.name.endswith("_total")) for name in names]


def counted_by_the_server(url, client):
    """The client's result, and what the server counted meanwhile."""
    before = counters(url)
    result = client()
    return result, [after - before for before, after in zip(before, counters(url))]


def guidellm(url, model, folder):
    report = folder / "guidellm.json"
    report.unlink(missing_ok=True)
    options = {
        "backend": f"kind=openai_http,target={url},model=smollm2",
        "profile": f"kind=concurrent,streams={CONCURRENCY}",
        "constraint": f"kind=max_requests,count={NUM_REQUESTS}",
        "tokenizer": f"kind=hf_auto,model={model}",
        "data": f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={OUTPUT_TOKENS}",
        "output": f"kind=json,path={report}",
    }
    command = [pathlib.Path(sys.executable).with_name("guidellm"), "run", "--disable-console-interactive"]
    for name, value in options.items():
        command += [f"--{name}", value]
    subprocess.run(command, check=True)
    (benchmark,) = json.loads(report.read_text())["benchmarks"]
    return benchmark


def bench_serve(url, kvasir, model, folder):
    options = {
        "base-url": url,
        "tokenizer": model,
        "num-prompts": NUM_REQUESTS,
        "max-concurrency": CONCURRENCY,
        "random-input-len": PROMPT_TOKENS,
        "random-output-len": OUTPUT_TOKENS,
        "percentile-metrics": "ttft,tpot,itl,e2el",
    }
    command = [kvasir, "bench", "serve", "--json"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=folder).stdout
    return json.loads(printed)


def agree(client, said, counted):
    """What was said of prompt tokens, generated tokens and requests is what the server counted, and what was asked."""
    print(f"{client}: {said} prompt tokens, generated tokens, requests; the server: {counted}")
    assert said == counted, (said, counted)
    assert said[1:] == [NUM_REQUESTS * OUTPUT_TOKENS, NUM_REQUESTS], said


def main():
    url, kvasir, model, folder = sys.argv[1:]
    folder = pathlib.Path(folder)
    directory = folder / "smollm2"
    if not (directory / "config.json").exists():
        subprocess.run([kvasir, "convert", model, directory], check=True)

    theirs, counted = counted_by_the_server(url, lambda: guidellm(url, directory, folder))
    requests = theirs["requests"]
    assert not requests["errored"] and not requests["incomplete"], requests
    said = [
        sum(request["prompt_tokens"] for request in requests["successful"]),
        sum(request["output_tokens"] for request in requests["successful"]),
        len(requests["successful"]),
    ]
    agree("guidellm", said, counted)

    ours, counted = counted_by_the_server(url, lambda: bench_serve(url, kvasir, model, folder))
    assert ours["failed"] == 0, ours
    said = [ours["total_input_tokens"], ours["total_output_tokens"], ours["completed"]]
    agree("kvasir bench serve", said, counted)

    # Not asserted: the prompts are others, and the machine has other work.
    median = lambda name: theirs["metrics"][name]["successful"]["median"]
    for name, theirs_ms, ours_ms in [
        ("latency of a request", median("request_latency") * 1e3, ours["median_e2el_ms"]),
        ("time to first token", median("time_to_first_token_ms"), ours["median_ttft_ms"]),
    ]:
        print(f"median {name}: guidellm {theirs_ms:.0f} ms, kvasir bench serve {ours_ms:.0f} ms")


if __name__ == "__main__":
    main()
