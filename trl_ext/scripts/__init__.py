"""Training scripts, one a method: `accelerate launch -m trl_ext.scripts.nca_priv --help`."""
