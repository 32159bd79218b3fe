//! signed-note checkpoints.
