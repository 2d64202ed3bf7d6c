"""lm-evaluation-harness against a `kvasir serve`: it scores texts by what the server echoes.

Usage: score.py URL MODEL FOLDER: the server's address, the model's directory, a folder for tasks and results.
`cargo xtask test --long --only clients` starts a server.
"""

import json
import pathlib
import subprocess
import sys

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin"}

TASK = {
    "dataset_path": "json",
    "test_split": "test",
    "doc_to_text": "The capital of {{country}} is",
    "metadata": {"version": 1},
}
CHOICE = {
    "task": "capitals_choice",
    "output_type": "multiple_choice",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": 0,
    "metric_list": [{"metric": "acc"}],
}
LIKELIHOOD = {
    "task": "capitals_likelihood",
    "output_type": "loglikelihood",
    "doc_to_target": " {{choices[0]}}",
    "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
}


def write_tasks(folder):
    rows = []
    for country, capital in CAPITALS.items():
        others = [other for other in CAPITALS.values() if other != capital]
        rows.append({"country": country, "choices": [capital, *others]})
    data = folder / "capitals.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for task in (CHOICE, LIKELIHOOD):
        task = {**TASK, **task, "dataset_kwargs": {"data_files": {"test": str(data)}}}
        # JSON is YAML.
        (folder / f"{task['task']}.yaml").write_text(json.dumps(task))


def scores(url, model, folder, in_tokens):
    """The harness's results; prompts go out as text or in tokens."""
    report = folder / f"scores-{in_tokens}.json"
    report.unlink(missing_ok=True)
    args = {
        "model": "smollm2",
        "base_url": f"{url}/v1/completions",
        "tokenizer": model,
        "tokenized_requests": in_tokens,
        "num_concurrent": 2,
    }
    command = [pathlib.Path(sys.executable).with_name("lm_eval"), "run", "--model", "local-completions"]
    command += ["--tasks", f"{CHOICE['task']},{LIKELIHOOD['task']}", "--include_path", folder]
    command += ["--model_args", ",".join(f"{name}={value}" for name, value in args.items())]
    subprocess.run([*command, "--output_path", report], check=True)
    # It puts the time into the name.
    (found,) = folder.glob(f"{report.stem}_*.json")
    results = json.loads(found.read_text())["results"]
    found.unlink()
    choice, likelihood = results[CHOICE["task"]], results[LIKELIHOOD["task"]]
    return [choice["acc,none"], likelihood["acc,none"], likelihood["perplexity,none"]]


def main():
    url, model, folder = sys.argv[1:]
    folder = pathlib.Path(folder)
    write_tasks(folder)
    as_text, in_tokens = (scores(url, model, folder, in_tokens) for in_tokens in (False, True))
    print(f"lm_eval: right, greedily right, perplexity: {as_text}; with prompts in tokens: {in_tokens}")
    assert as_text == in_tokens
    assert as_text[:2] == [1.0, 1.0] and 1.0 < as_text[2] < 4.0


if __name__ == "__main__":
    main()
