//! Pure: the programs that load a bot written in Python or JavaScript, as text.
//!
//! Whoever installs the agent for a unit writes them beside it, under these names.

/// A file to install beside the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrapper {
    /// Its file name.
    pub file: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// Loads a Python bot.
pub const PYTHON: Wrapper =
    Wrapper { file: "python_bot.py", text: include_str!("../wrappers/python_bot.py") };
/// What the loader of Python bots needs only when one ends.
pub const PYTHON_ENDS: Wrapper =
    Wrapper { file: "python_ends.py", text: include_str!("../wrappers/python_ends.py") };
/// Loads a Node bot, ESM or CommonJS.
pub const NODE: Wrapper = Wrapper { file: "node_bot.mjs", text: include_str!("../wrappers/node_bot.mjs") };
/// All of them.
pub const ALL: [Wrapper; 3] = [PYTHON, PYTHON_ENDS, NODE];
