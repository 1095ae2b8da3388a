//! Generates the messages and services from `proto/`. Needs `protoc` and its well-known types
//! (Debian: `protobuf-compiler`, `libprotobuf-dev`).

use std::{error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from("../../proto");
    let files = ["worker", "machine", "peer", "admin"].map(|name| root.join(format!("gust/v1/{name}.proto")));
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("gust.bin");
    tonic_prost_build::configure()
        .file_descriptor_set_path(descriptors)
        // These carry credentials: their Debug is written by hand and keeps silent about them.
        .skip_debug(["gust.v1.Assignment", "gust.v1.ClaimRequest"])
        // Maps in the order of their keys, so that equal messages are equal bytes.
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .compile_protos(&files, &[root])?;
    Ok(())
}
