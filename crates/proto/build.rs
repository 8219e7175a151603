//! Generates the gRPC code. `protox` compiles the `.proto` files in Rust, so no `protoc` is needed on the machine.

use std::{error::Error, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest directory")?)
        .join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(["the0/bot/v1/bot.proto"], [&root])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no output directory")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
