//! predicted
