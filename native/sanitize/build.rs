//! The feature as a condition that the core's sources can ask for, which has no such feature.

fn main() {
    if std::env::var_os("CARGO_FEATURE_PIECES_APART").is_some() {
        println!("cargo::rustc-cfg=pieces_apart");
    }
}
