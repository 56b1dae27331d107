"""The picture is drawn from the record, whatever of it is there."""

from matplotlib import image

from rlvr_jax.metrics import curves


def test_a_picture_of_a_run(tmp_path):
  lines = [
    {
      "step": step,
      "eval/pass_at_1": step / 10,
      "eval/pass_at_1_se": 0.05,
      "eval/pass_at_8": 0.8,
      "eval/pass_at_8_se": 0.05,
      "policy/entropy": 0.2 - step / 100,
      "train/reward": None,
    }
    for step in range(5)
  ]
  path = tmp_path / "curves.png"
  curves.draw_curves(lines, path, "title")
  pixels = image.imread(path)
  height, width, _ = pixels.shape
  assert width > 3 * height
  # Something other than white paper and black ink: the curves.
  colours = pixels[:, :, :3].max(axis=2) - pixels[:, :, :3].min(axis=2)
  assert (colours > 0.2).sum() > 500


def test_a_run_of_one_step(tmp_path):
  path = tmp_path / "curves.png"
  curves.draw_curves([{"step": 0, "eval/pass_at_1": 0.5}], path, "title")
  assert path.stat().st_size > 0
