"""The report: one file, whatever the run and the texts in it are."""

import functools
from html import parser
import json
import re
import shutil
import subprocess
import sys

import pytest

from rlvr_jax import errors
from rlvr_jax import workdir
from tests import made_run

_VOID = ("meta", "input", "br", "img", "link")
_CHROMIUM = shutil.which("chromium")


class _Page(parser.HTMLParser):
  """What a browser makes of a page: elements in their nesting, and data."""

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.ids, self.references = [], [], []
    self.scripts, self.words, self._open = [], [], []
    self.feed(text)
    assert not self._open, self._open

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    for name, value in attributes:
      if name == "id":
        self.ids.append(value)
      if name in ("src", "href", "action", "srcset", "poster", "data"):
        self.references.append(value)
      assert not name.startswith("on"), (tag, name)
    if tag not in _VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.handle_starttag(tag, attributes)
    self.handle_endtag(tag)

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, text):
    inside = self._open[-1] if self._open else ""
    (self.scripts if inside == "script" else self.words).append(text)


def _report(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "rlvr_jax.report", *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=200,
    check=False,
  )


def _text(folder, *others):
  # Imported late: the program's flags would meet those of other programs.
  from rlvr_jax.reporting import page
  from rlvr_jax.reporting import source

  sources = [source.read(x) for x in (folder, *others)]
  return page.build(sources, folder / workdir.REPORT_PICTURES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A folder with its report."""
  root = tmp_path_factory.mktemp("runs")
  folder = made_run.make(root / "made $x$ <b>")
  result = _report(f"--workdir={folder}")
  assert result.returncode == 0, result.stderr
  assert result.stdout.strip() == str(folder / workdir.REPORT)
  return folder


@functools.cache
def _page(folder) -> _Page:
  return _Page((folder / workdir.REPORT).read_text(encoding="utf-8"))


def test_every_section_is_there(finished):
  sections = ("results", "doctor", "curves", "calibration", "times", "tokens")
  assert {*sections, "samples", "settings"} <= {*_page(finished).ids}
  words = " ".join(_page(finished).words)
  for text in (
    "grpo_advantages, reversed_teacher, ppo_clip",
    "finished, 6 steps",
    "6,000",
    "0.100 ± 0.020",
    "+0.300",
    "token_loss.clip_high",
    "held-out accuracy",
    "10.8 seconds in 6 steps",
    "0.11.2",
  ):
    assert text in words, text


def test_texts_of_a_run_stay_texts(finished):
  page = _page(finished)
  # The one script, and the data of the tokens.
  assert page.tags.count("script") == 2
  assert "img" not in page.tags
  assert not [x for x in page.words if "owned" in x and "<script>" not in x]
  data = json.loads(page.scripts[0])
  tokens = data["steps"][0]["rows"][1]["tokens"]
  assert tokens[0].startswith("</script><script>")
  assert "\x00" not in tokens[0] and "\ufffd" in tokens[0]
  text = (finished / workdir.REPORT).read_text(encoding="utf-8")
  assert not re.search("[\x00-\x08\x0b-\x1f]", text)


def test_nothing_is_read_from_elsewhere(finished):
  page = _page(finished)
  assert page.references
  assert all(x.startswith("#") for x in page.references)
  text = (finished / workdir.REPORT).read_text(encoding="utf-8")
  assert "http://" not in text and "https://" not in text
  assert "@import" not in text
  assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_pictures_exist(finished):
  ids = _page(finished).ids
  assert len(ids) == len({*ids})
  pictures = sorted(
    x.name for x in (finished / workdir.REPORT_PICTURES).iterdir()
  )
  assert "learning_held_out_accuracy_by_steps.png" in pictures
  assert "learning_held_out_accuracy_by_tokens.png" in pictures
  assert {"calibration.png", "times.png"} <= {*pictures}
  assert len(pictures) == _page(finished).tags.count("svg")
  first = (finished / workdir.REPORT_PICTURES / pictures[0]).read_bytes()
  assert first.startswith(b"\x89PNG")


def test_a_long_text_is_folded_and_cut(finished):
  text = (finished / workdir.REPORT).read_text(encoding="utf-8")
  assert "980,000 more characters" in text
  assert len(text) < 2_000_000


def test_runs_are_laid_beside_each_other(finished, tmp_path):
  other = made_run.make(tmp_path / "other", seed=4)
  unstarted = made_run.make(tmp_path / "unstarted", last_step=-1)
  page = _Page(_text(finished, other, unstarted))
  words = " ".join(page.words)
  assert "other, after" in words and "unstarted, after" in words
  assert "- ± -" in words
  assert "Differences to other" in words
  assert "No setting differs." in words
  assert "held-out accuracy: pass@8" in words


@pytest.mark.parametrize("last_step", [-1, 0, 1, 3])
def test_a_run_that_goes_on_has_a_report(tmp_path, last_step):
  folder = made_run.make(tmp_path / "run", last_step)
  with open(folder / workdir.METRICS, "a", encoding="utf-8") as file:
    file.write('{"step": 99, "trai')
  words = " ".join(_Page(_text(folder)).words)
  said = "no step yet" if last_step < 0 else f"step {last_step} of 6 so far"
  assert said in words


def test_a_run_without_tokens_and_samples(tmp_path):
  folder = made_run.make(tmp_path / "run")
  for name in (workdir.TOKENS, workdir.SAMPLES, workdir.TIMING):
    (folder / name).unlink()
  words = " ".join(_Page(_text(folder)).words)
  assert "keeps no tokens: see config.report.token_prompts" in words
  assert "There are no samples yet." in words


@pytest.mark.parametrize(
  "arguments, told",
  [
    ((), "error: --workdir is missing: give it a folder"),
    (("--workdir=nowhere",), "error: --workdir nowhere holds no run"),
  ],
)
def test_a_wrong_folder_is_refused_in_a_sentence(arguments, told):
  result = _report(*arguments)
  assert result.returncode == 2
  assert result.stderr.startswith(told)
  assert len(result.stderr.splitlines()) == 1


def test_a_damaged_file_is_named(tmp_path):
  folder = made_run.make(tmp_path / "run")
  (folder / workdir.TOKENS).write_text("{}}\n{}\n")
  with pytest.raises(errors.UserError, match=r"tokens.jsonl line 1 is not"):
    _text(folder)


@pytest.mark.skipif(_CHROMIUM is None, reason="there is no chromium")
def test_a_browser_shows_it_without_a_complaint(finished, tmp_path):
  result = subprocess.run(
    [
      _CHROMIUM,
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--enable-logging=stderr",
      "--v=0",
      "--host-resolver-rules=MAP * ~NOTFOUND",
      f"--user-data-dir={tmp_path}",
      "--virtual-time-budget=5000",
      "--dump-dom",
      (finished / workdir.REPORT).as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert "CONSOLE" not in result.stderr, result.stderr
  # What its script has made, out of texts that try to be one.
  assert "12 of 12" in result.stdout
  assert result.stdout.count('class="tokens"') == 3
  assert "<title>owned</title>" not in result.stdout
