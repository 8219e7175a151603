//! Pure: the languages a bot can be written in, and how each is launched (contract: image, default entrypoint, argv).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A language runtime, by the platform's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// `python3.11`: a file with `main(bot_id, config)`.
    Python311,
    /// `nodejs20`: a file that exports `main(botId, config)`, ESM or CommonJS.
    Nodejs20,
    /// `rust-stable`: a native binary.
    RustStable,
    /// `gcc13` (also `cpp-gcc13`): a native binary.
    Gcc13,
    /// `ghc96`: a native binary.
    Ghc96,
    /// `dotnet8`: a `.dll`, or a project.
    Dotnet8,
    /// `scala3`: `X.jar` or `X.jar:Main`.
    Scala3,
}

/// A runtime name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("runtime {name:?} is not known; use one of {}", Runtime::names())]
pub struct UnknownRuntime {
    /// What was given.
    pub name: String,
}

impl Runtime {
    /// Every runtime.
    pub const ALL: [Self; 7] = [
        Self::Python311,
        Self::Nodejs20,
        Self::RustStable,
        Self::Gcc13,
        Self::Ghc96,
        Self::Dotnet8,
        Self::Scala3,
    ];

    /// The platform's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python311 => "python3.11",
            Self::Nodejs20 => "nodejs20",
            Self::RustStable => "rust-stable",
            Self::Gcc13 => "gcc13",
            Self::Ghc96 => "ghc96",
            Self::Dotnet8 => "dotnet8",
            Self::Scala3 => "scala3",
        }
    }

    /// All names, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// The container image used unless another is configured.
    pub const fn default_image(self) -> &'static str {
        match self {
            Self::Python311 => "python:3.11-slim",
            Self::Nodejs20 => "node:20-alpine",
            Self::RustStable => "rust:1-slim",
            Self::Gcc13 => "gcc:13",
            Self::Ghc96 => "haskell:9.6",
            Self::Dotnet8 => "mcr.microsoft.com/dotnet/runtime:8.0",
            Self::Scala3 => "eclipse-temurin:21-jre",
        }
    }

    /// The entrypoint assumed when a bot names none.
    pub const fn default_entrypoint(self) -> Option<&'static str> {
        match self {
            Self::Python311 => Some("main.py"),
            Self::Nodejs20 => Some("main.js"),
            Self::RustStable | Self::Gcc13 | Self::Ghc96 | Self::Dotnet8 | Self::Scala3 => None,
        }
    }

    /// The file in the bundle that must exist for `entrypoint` to run (`X.jar:Main` needs `X.jar`).
    pub fn entrypoint_file(self, entrypoint: &str) -> &str {
        match self {
            Self::Scala3 => entrypoint.rsplit_once(':').map_or(entrypoint, |(jar, _)| jar),
            Self::Python311
            | Self::Nodejs20
            | Self::RustStable
            | Self::Gcc13
            | Self::Ghc96
            | Self::Dotnet8 => entrypoint,
        }
    }

    /// Whether the entrypoint itself is executed and so needs its executable bit.
    pub const fn is_native(self) -> bool {
        matches!(self, Self::RustStable | Self::Gcc13 | Self::Ghc96)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Runtime {
    type Err = UnknownRuntime;
    fn from_str(name: &str) -> Result<Self, UnknownRuntime> {
        // The platform also writes `cpp-gcc13`.
        let wanted = if name == "cpp-gcc13" { "gcc13" } else { name };
        Self::ALL
            .into_iter()
            .find(|runtime| runtime.as_str() == wanted)
            .ok_or_else(|| UnknownRuntime { name: name.chars().take(60).collect() })
    }
}

impl Serialize for Runtime {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Runtime {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_platforms() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.as_str().parse::<Runtime>().unwrap(), runtime);
        }
        assert_eq!("cpp-gcc13".parse::<Runtime>().unwrap(), Runtime::Gcc13);
        let error = "cobol".parse::<Runtime>().unwrap_err().to_string();
        assert!(error.contains("cobol") && error.contains("python3.11"), "{error}");
    }

    #[test]
    fn a_jar_with_a_main_class_needs_the_jar() {
        assert_eq!(Runtime::Scala3.entrypoint_file("bot.jar:com.example.Main"), "bot.jar");
        assert_eq!(Runtime::Python311.entrypoint_file("main.py"), "main.py");
    }
}
