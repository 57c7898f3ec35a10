//! Handles for the loom models.
