"""Every name inside other libraries that llmkit depends on without being promised it.

Names with an underscore, and names that are undocumented or meant for other use. A test holds this table to the code,
and each entry to the installed libraries, so an update that moves one fails with its reason. Plain data: nothing is
imported here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Internal:
    """`name` of `place`, a dotted module, class or function, and why it is needed.

    `parameters` are those that llmkit passes by name or counts on. An attribute that only instances have is looked up
    in the source of the class: `in_source`.
    """

    place: str
    name: str
    why: str
    parameters: tuple[str, ...] = ()
    in_source: bool = False


_TRAINER = "transformers.Trainer"

PRIVATE = (
    Internal(_TRAINER, "_run_epoch", "skip the epoch where a resumed run had already finished"),
    Internal(_TRAINER, "_created_lr_scheduler", "let a second training make a scheduler of its own", in_source=True),
    Internal(
        _TRAINER,
        "_maybe_log_save_evaluate",
        "stop at a loss that is not finite before it is saved, and save when an evaluation is interrupted",
        ("tr_loss", "grad_norm"),
    ),
    Internal(_TRAINER, "_save_checkpoint", "seal a checkpoint, then prune older ones", ("model", "trial")),
    Internal(_TRAINER, "_save", "write tied weights of a sharded model once", ("output_dir", "state_dict")),
    Internal(
        _TRAINER,
        "_evaluate",
        "let an evaluation that a resumed run still owed become the best",
        ("trial", "ignore_keys_for_eval", "skip_scheduler"),
    ),
    Internal(_TRAINER, "_determine_best_metric", "the same, and stop early", ("metrics", "trial")),
    Internal(
        _TRAINER, "_load_rng_state", "new random numbers where other processes wrote a checkpoint", ("checkpoint",)
    ),
    Internal(_TRAINER, "_get_learning_rate", "log the head's learning rate where each layer has its own"),
    Internal(_TRAINER, "_prepare_for_training", "the wrapped model and optimizer, to try batch sizes"),
    Internal(
        "transformers.TrainingArguments",
        "_n_gpu",
        "keep the Trainer of a single process from copying the model to every GPU",
        in_source=True,
    ),
    Internal(
        "transformers.PretrainedConfig",
        "_attn_implementation",
        "choose the attention, and restore the choice after exporting",
    ),
    Internal(
        "transformers.PreTrainedModel",
        "_supports_attention_backend",
        "whether attention goes through the interface that the kernel is registered in",
    ),
    Internal("torch.cpu", "_is_avx512_bf16_supported", "whether the CPU computes in bf16; nothing public says so"),
    Internal("torch.cpu", "_is_amx_tile_supported", "the same"),
    Internal("torch.ops.mkldnn", "_is_mkldnn_bf16_supported", "whether oneDNN may compute in bf16"),
    Internal(
        "sacrebleu.metrics.base.Metric",
        "_extract_corpus_statistics",
        "counts of each text, for a bootstrap; the library's own fails on numpy's floats",
    ),
    Internal(
        "datatrove.executor.base.PipelineExecutor",
        "_run_for_rank",
        "what an executor calls for each task, as the class's own description says",
        ("rank",),
    ),
    Internal("sacrebleu.metrics.base.Metric", "_compute_score_from_stats", "the score of resampled counts"),
)

UNDOCUMENTED = (
    Internal("datatrove.pipeline.dedup.minhash.MinhashDedupSignature", "get_signature", "bound memory", ("shingles",)),
    Internal("datatrove.utils.text", "simplify_text", "hash evaluation data as the filter hashes text"),
    Internal(_TRAINER, "model_accepts_loss_kwargs", "the loss function divides, not the model", in_source=True),
    Internal(_TRAINER, "current_gradient_accumulation_steps", "steps of a trial batch", in_source=True),
    Internal(_TRAINER, "compute_loss_func", "give our loss function the mask of the batch", in_source=True),
    Internal(
        _TRAINER, "get_batch_samples", "the examples and targets of a step", ("epoch_iterator", "num_batches", "device")
    ),
    Internal(_TRAINER, "get_optimizer_cls_and_kwargs", "the same AdamW for what Muon leaves", ("args",)),
    Internal(_TRAINER, "get_decay_parameter_names", "the same parameters without weight decay", ("model",)),
    Internal(_TRAINER, "create_scheduler", "our schedule instead", ("num_training_steps", "optimizer")),
    Internal(_TRAINER, "callback_handler", "tell the callbacks about an evaluation of ours", in_source=True),
    Internal("transformers.Trainer.__init__", "accepts_loss_kwargs", "pass on the step's targets", in_source=True),
    Internal("transformers.trainer_callback", "PrinterCallback", "remove its printing"),
    Internal(
        "transformers.TrainingArguments",
        "eval_on_start",
        "make an evaluation before training: of step 0, or one that is owed",
    ),
    Internal("transformers.modeling_utils", "ALL_ATTENTION_FUNCTIONS", "register our attention, on GPUs and on CPUs"),
    Internal("transformers.masking_utils", "ALL_MASK_ATTENTION_FUNCTIONS", "the masks of our attention on CPUs"),
    Internal("transformers.masking_utils", "sdpa_mask", "the same"),
    Internal(
        "transformers.integrations.sdpa_attention",
        "sdpa_attention_forward",
        "torch's attention as transformers calls it, where ours has nothing to gain",
        ("scaling", "dropout"),
    ),
    Internal(
        "torch.nn.attention.varlen",
        "varlen_attn",
        "the kernel",
        ("cu_seq_q", "cu_seq_k", "max_q", "max_k", "scale", "window_size"),
    ),
    Internal("accelerate.utils.memory", "clear_device_cache", "give memory back between tries"),
    Internal("huggingface_hub.constants", "HF_HUB_OFFLINE", "use the cache alone once the Hub does not answer"),
    Internal("huggingface_hub.utils", "httpx", "the library's own client, whichever it is"),
    Internal("huggingface_hub.utils", "tqdm", "show what it downloads: its bars have `unit` B, `desc` and `total`"),
    Internal("huggingface_hub.utils", "validate_repo_id", "check a repository's name without the Hub"),
    Internal("torch.distributed.launcher.api", "LaunchConfig", "`-n` starts processes as torchrun does", ("run_id",)),
    Internal("torch.distributed.launcher.api", "elastic_launch", "the same"),
    Internal("onnx_ir.passes.common", "ClearMetadataAndDocStringPass", "keep paths of this machine out of a graph"),
    Internal(
        "trackio.sqlite_storage.SQLiteStorage",
        "get_project_db_path",
        "take back the rows that a resumed run repeats, from the table `metrics` with its columns run_name and step",
        ("project",),
    ),
    Internal("trackio.sqlite_storage.SQLiteStorage", "get_runs", "choose a name that no run has", ("project",)),
    Internal("yaml.SafeLoader", "yaml_implicit_resolvers", "read 1e-4 as a number"),
)
