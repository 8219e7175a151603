//! Generated code of the `.proto` files and nothing else. Only `grpc` modules may touch it.

/// Live bots.
pub mod bot {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        tonic::include_proto!("the0.bot.v1");
    }
}

/// All descriptors, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
