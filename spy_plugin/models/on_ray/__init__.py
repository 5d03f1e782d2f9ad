"""Many engines of one model on a Ray cluster, asked as one model: `model.RayModel`."""
