"""Hyper-parameters under which every public function is compared."""

import math

_WIDE = dict(clip_low=math.inf, clip_high=math.inf)
# Hyper-parameters by function; the defaults are always tried as well.
SETTINGS = {
  "grpo_advantages": [
    dict(normalize_std=False),
    dict(ddof=0),
    dict(epsilon=0.1, ddof=0),
  ],
  "dr_grpo_advantages": [],
  "rloo_advantages": [],
  "reinforce_pp_advantages": [
    dict(epsilon=0.5),
  ],
  "reinforce_pp_baseline_advantages": [dict(epsilon=0.01)],
  "signed_advantages": [
    dict(positive_weight=0.0),
    dict(positive_weight=1.0, negative_weight=0.0),
    dict(positive_weight=0.7, negative_weight=0.3),
  ],
  "mixed_groups": [],
  "ppo_clip": [
    dict(clip_high=0.28),
    dict(clip_low=0.5, clip_high=0.05),
    dict(clip_high=0.28, dual_clip=3.0),
    dict(dual_clip=1.1),
    _WIDE,
  ],
  "gspo": [dict(clip_low=0.1), dict(clip_high=0.3, clip_low=0.2), _WIDE],
  "cispo": [dict(clip_low=0.2), dict(clip_low=0.1, clip_high=2.0), _WIDE],
  "clip_cov": [dict(clip_low=0.1, clip_high=0.28), _WIDE],
  "kl_cov": [dict(kl_cov_coef=0.3), dict(kl_cov_coef=0.0)],
  "negative_log_likelihood": [],
  "reinforce": [],
  "kl_k1": [],
  "kl_k2": [],
  "kl_k3": [],
  "entropy_bonus": [],
  "truncated_importance": [dict(cap=1.05), dict(cap=math.inf)],
  "token_mean": [dict(over_kept=True)],
  "sequence_mean": [dict(over_kept=True)],
  "fixed_length": [dict(length=1), dict(length=5)],
  "forking_token_mask": [
    dict(keep_frac=0.3),
    dict(keep_frac=0.01),
    dict(keep_frac=1.0),
  ],
  "steer_weights": [
    dict(weight_min=0.5, weight_max=1.7),
    dict(schedule="exponential"),
    dict(schedule="exponential", weight_min=0.3),
  ],
  "empg_weights": [
    dict(sharpness=0.0, future_coef=0.0),
    dict(sharpness=2.0, future_sharpness=0.5, future_coef=0.4),
  ],
  "hicra_weights": [dict(amplification=0.7)],
  "clip_cov_tokens": [
    dict(select_frac=0.05),
    dict(select_frac=0.1, cov_low=0.1, cov_high=0.9),
    dict(select_frac=1.0, cov_low=-9.0, cov_high=9.0),
    dict(select_frac=1.0, cov_low=-9.0, clip_low=0.05, clip_high=0.6),
  ],
  "kl_cov_tokens": [
    dict(select_frac=0.0),
    dict(select_frac=0.1),
    dict(select_frac=0.5),
  ],
  "segment_ids": [
    dict(separator_ids=(3,)),
    dict(separator_ids=(1, 4)),
    dict(separator_ids=(9,)),
  ],
  "planning_tokens": [
    dict(phrases=((3,),)),
    dict(phrases=((1, 2), (2, 1, 2), (4, 4))),
    dict(phrases=((1,) * 9, (2, 3, 1, 0))),
  ],
  "overlong_penalty": [
    dict(max_tokens=7, buffer_tokens=4),
    dict(max_tokens=5, buffer_tokens=1),
    dict(max_tokens=4, buffer_tokens=4),
  ],
  "sequence_kl_penalty": [dict(kl_coef=0.7), dict(kl_coef=0.0)],
  "unlikeliness": [dict(rank_coef=0.9), dict(rank_coef=0.0)],
  "seq_logratio": [dict(length_norm="token")],
  "tb_residual": [dict(length_norm="token")],
  "vargrad_log_z": [
    dict(length_norm="token"),
    dict(mean_over="batch"),
    dict(length_norm="token", mean_over="batch"),
  ],
  "flowrl_weight": [
    dict(w_mode="token", w_low=0.8, w_high=1.28),
    dict(w_low=0.8, w_high=1.2),
    dict(w_mode="sequence", w_high=math.inf),
    dict(w_mode="none"),
  ],
  "trajectory_balance": [
    dict(length_norm="token", w_mode="sequence", w_low=0.8, w_high=1.2),
    dict(w_mode="token", w_high=math.inf, units="accuracy"),
    dict(w_mode="sequence", residual_low=-1.0, residual_high=0.5),
    dict(length_norm="token", residual_high=0.2, units="accuracy"),
    dict(residual_low=-0.5),
  ],
  "zero_log_partition": [],
  "noise_log_partition": [dict(mean=-1.0), dict(std=0.0), dict(std=2.5)],
  "zero_anchor": [],
  "with_teacher": [],
  "d_hat": [],
  "srpo_weights": [dict(temperature=0.3), dict(temperature=math.inf)],
  "reversed_teacher": [
    dict(gate="all"),
    dict(normalize="row_mean"),
    dict(mode="sign", threshold=0.3),
    dict(gate="all", mode="sign", normalize="row_mean"),
    dict(gate="all", mode="keep", threshold=-0.2),
  ],
  "rlsd": [],
  # Mean entropies lie near 1 nat.
  "antisd": [
    dict(warm_entropy=1.3, off_frac=0.3),
    dict(warm_entropy=3.0, off_frac=0.9),
    dict(warm_entropy=0.1),
  ],
  "sdpo": [
    dict(alpha=0.0),
    dict(alpha=1.0, max_ratio=1.1),
    dict(alpha=0.2, tail=False, max_ratio=math.inf),
  ],
  "sdpo_token": [dict(max_ratio=1.1)],
  "opsd": [dict(beta=0.0), dict(beta=1.0), dict(beta=0.8)],
  "sdft": [dict(direction="student_teacher")],
  "srpo": [
    dict(alpha=0.0, clip_low=0.1, clip_high=0.1),
    dict(alpha=1.0, tail=False, max_ratio=1.1, dual_clip=1.1),
  ],
}
