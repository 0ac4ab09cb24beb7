"""What fine-tuning on questions and answers does to a small model, for docs/from-gpt-to-chatgpt.md.

    python -m benchmarks.answers

A model of the preset `modern` learns Tiny Shakespeare, and then goes on with `questions.jsonl` beside this file, each
line of which is a document: a question, its answer, and the end-of-document token after it. Both models are asked the
same questions with temperature 0: those that they were trained on, those in other words, and others. An answer is
`right` where it is the trained one, or has the word that it must have; it `ends` where the model writes the
end-of-document token by itself.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import circumstances, write_record
from nanogpt.parallel.process import prepare_process

QUESTIONS = Path(__file__).parent / "questions.jsonl"
FIRST: dict[str, Any] = {"steps": 1000, "block_size": 128}
"""The training on Tiny Shakespeare."""
SECOND: dict[str, Any] = {"steps": 100}
"""The training that goes on with the questions."""
TOKENS = 120
REWORDED = {
    "Tell me, who is Romeo?": "Montague",
    "Who slays Tybalt?": "Romeo",
    "Where is the home of Romeo and Juliet?": "Verona",
    "Who is the mother of Coriolanus?": "Volumnia",
    "For what would Richard give his kingdom?": "horse",
    "What colour has the rose of York?": "white",
    "Who weds Katharina?": "Petruchio",
    "Who is the child of Prospero?": "Miranda",
}
"""Asked about what the text tells, in words that it has not; the word that the answer must have."""
NEW = {
    "Who is Benvolio?": "Romeo",
    "Who is Gonzalo?": "Naples",
    "Who is Paulina?": "Hermione",
    "Who is Lucentio?": "Bianca",
    "Who is Sicinius?": "tribune",
    "Who is Buckingham?": "duke",
    "Who is Claudio?": "Isabella",
    "Who is Paris?": "Juliet",
}
"""Asked about others, of whom the plays tell but the questions do not."""


def main() -> None:
    """Train twice, ask, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trial", action="store_true", help="a few steps, and record nothing")
    options = parser.parse_args()
    prepare_process()
    measured_in = circumstances()
    with tempfile.TemporaryDirectory(prefix="answers-") as folder:
        result = measure("shakespeare", Path(folder), *([{"steps": 20}, {"steps": 5}] if options.trial else [{}, {}]))
    for name, found in result["models"].items():
        print(f"--- {name}")
        for kind, row in found.items():
            print(f"{kind}: {row['right']} right, {row['ended']} ended, of {row['asked']}")
            print("\n".join(f"    {one['question']} | {one['answer']}" for one in row["answers"]))
    print("a trial: nothing is recorded" if options.trial else f"wrote {write_record('answers', measured_in, result)}")


def measure(text: str, folder: Path, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Both trainings, and what each model answers."""
    import nanogpt

    quiet: dict[str, Any] = {"progress": False, "sample_tokens": 0}
    run = nanogpt.train(text, out=folder / "first", **FIRST | first, **quiet)
    nanogpt.train(QUESTIONS, start_from=run.path, out=folder / "answers", **SECOND | second, **quiet)
    tuned = nanogpt.load(folder / "answers", checkpoint="last")
    learned = trained_on(QUESTIONS)
    return {
        "first": FIRST | {"loss": run.evaluate().loss, "parameters": run.model.parameter_count},
        "second": SECOND | {"pairs": len(read_pairs(QUESTIONS)), "learned": len(learned)},
        "models": {"before": ask_all(run, learned), "after": ask_all(tuned, learned)},
    }


def read_pairs(path: Path) -> dict[str, str]:
    """Questions and their answers."""
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    parts = [text.split("\nA: ") for text in texts]
    return {question.removeprefix("Q: "): answer for question, answer in parts}


def trained_on(path: Path) -> dict[str, str]:
    """The pairs that stand whole in the training part, by the library's own cut."""
    from nanogpt.text.corpus import load_corpus

    training, _ = load_corpus(str(path)).split(quiet=True)
    seen = "".join(chunk.text for chunk in training)
    return {question: answer for question, answer in read_pairs(path).items() if f"Q: {question}\nA: {answer}" in seen}


def ask_all(run: Any, learned: dict[str, str]) -> dict[str, Any]:
    """Each kind of question, with how many of its answers are right and how many end."""
    return {
        "learned": _tally(run, learned, exact=True),
        "reworded": _tally(run, REWORDED, exact=False),
        "new": _tally(run, NEW, exact=False),
    }


def _tally(run: Any, questions: dict[str, str], *, exact: bool) -> dict[str, Any]:
    answers = ask(run, list(questions))
    rights = [is_right(one["answer"], wanted, exact) for one, wanted in zip(answers, questions.values())]
    return {
        "asked": len(answers),
        "right": sum(rights),
        "ended": sum(one["ended"] for one in answers),
        "answers": [one | {"right": right} for one, right in zip(answers, rights)],
    }


def ask(run: Any, questions: Sequence[str]) -> list[dict[str, Any]]:
    """What a model writes after each question, always its likeliest character, and whether it came to an end."""
    prompts = [f"Q: {question}\nA:" for question in questions]
    texts = run.generate_batch(prompts, tokens=TOKENS, temperature=0.0)
    answers = [text.removeprefix(prompt) for text, prompt in zip(texts, prompts)]
    return [
        {"question": question, "answer": answer.strip(), "ended": len(answer) < TOKENS}
        for question, answer in zip(questions, answers)
    ]


def is_right(answer: str, wanted: str, exact: bool) -> bool:
    """Whether it is the answer, or has the word.

    >>> is_right("He lives in Verona.", "Verona", False), is_right("In Verona.", "They live in Verona.", True)
    (True, False)
    """
    return answer == wanted if exact else wanted.lower() in answer.lower()


if __name__ == "__main__":
    main()
