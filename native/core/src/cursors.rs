//! cursors
