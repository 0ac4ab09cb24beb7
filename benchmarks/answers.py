"""Effect of fine-tuning a small model on questions and answers, for docs/from-gpt-to-chatgpt.md.

    python -m benchmarks.answers

A model of the preset `modern` learns Tiny Shakespeare, then continues with `questions.jsonl`. Both models are asked the
same questions with temperature 0: those of the training, the same in other words, and others. An answer is `right` if
it is the trained one, or contains the required word; it `ends` if the model writes the end-of-document token.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.record import new_parser, parse
from nanogpt.text.corpus import load_corpus

QUESTIONS = Path(__file__).parent / "questions.jsonl"
TOKENS = 120
OTHERS: dict[str, dict[str, str]] = json.loads(QUESTIONS.with_name("other_questions.json").read_text(encoding="utf-8"))
"""Questions about the same in other words, and about other people; with the word that an answer must contain."""


def main() -> None:
    """Train twice, ask, record."""
    options, parts = parse(new_parser(__doc__), "answers", parts=False)
    with tempfile.TemporaryDirectory(prefix="answers-") as folder:
        steps = (20, 5) if options.trial else (1000, 100)
        parts.write(measure("shakespeare", Path(folder), *steps))


def measure(text: str, folder: Path, first_steps: int, second_steps: int) -> dict[str, Any]:
    """Train twice; return what each model answers."""
    quiet: dict[str, Any] = {"progress": False, "sample_tokens": 0}
    first: dict[str, Any] = {"steps": first_steps, "block_size": 128}
    run = nanogpt.train(text, out=folder / "first", **first, **quiet)
    nanogpt.train(QUESTIONS, start_from=run.path, out=folder / "answers", steps=second_steps, **quiet)
    tuned = nanogpt.load(folder / "answers", checkpoint="last")
    learned = trained_on(QUESTIONS)
    return {
        "first": first | {"loss": run.evaluate().loss, "parameters": run.model.parameter_count},
        "second": {"steps": second_steps, "pairs": len(read_pairs(QUESTIONS)), "learned": len(learned)},
        "models": {"before": ask_all(run, learned), "after": ask_all(tuned, learned)},
    }


def read_pairs(path: Path) -> dict[str, str]:
    """Return questions and their answers."""
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    return {question.removeprefix("Q: "): answer for question, answer in (text.split("\nA: ") for text in texts)}


def trained_on(path: Path) -> dict[str, str]:
    """Return the pairs that are entirely in the training part."""
    training, _ = load_corpus(str(path)).split(quiet=True)
    seen = "".join(chunk.text for chunk in training)
    return {question: answer for question, answer in read_pairs(path).items() if f"Q: {question}\nA: {answer}" in seen}


def ask_all(run: Any, learned: dict[str, str]) -> dict[str, Any]:
    """Return for each kind of question the answers, and how many are right and how many end."""
    found = {}
    for kind, questions in ({"learned": learned} | OTHERS).items():
        answers = ask(run, list(questions))
        for one, wanted in zip(answers, questions.values()):
            one["right"] = is_right(one["answer"], wanted, exact=kind == "learned")
        right, ended = (sum(one[name] for one in answers) for name in ("right", "ended"))
        found[kind] = {"asked": len(answers), "right": right, "ended": ended, "answers": answers}
    return found


def ask(run: Any, questions: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a model writes after each question, always its likeliest character, and whether it ends."""
    prompts = [f"Q: {question}\nA:" for question in questions]
    texts = run.generate_batch(prompts, tokens=TOKENS, temperature=0.0)
    answers = [text.removeprefix(prompt) for text, prompt in zip(texts, prompts)]
    return [
        {"question": question, "answer": answer.strip(), "ended": len(answer) < TOKENS}
        for question, answer in zip(questions, answers)
    ]


def is_right(answer: str, wanted: str, exact: bool) -> bool:
    """Return whether an answer is the wanted one, or contains the wanted word.

    >>> is_right("He lives in Verona.", "Verona", False), is_right("In Verona.", "They live in Verona.", True)
    (True, False)
    """
    return answer == wanted if exact else wanted.lower() in answer.lower()


if __name__ == "__main__":
    main()
