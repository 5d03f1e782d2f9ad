"""Preference training that computes once what the sequences of a batch have in common.

From the ground up: `token_batch` (tokens and pictures of a batch), `plain` (one padded row per
sequence), `tree`, `packing`, `attention`, `log_probs` (one column per distinct prefix), `vision`
(features of a frozen tower), `check` (whether a model allows it), `encoding`, `collator`,
`dataset`, `batching` (rows into batches), `reference` (log-probabilities of the reference, kept on
disk), then the trainers.
"""
