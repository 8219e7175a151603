//! Colours, and whether they are wanted.

use std::io::{self, IsTerminal};

/// Whether standard output is read by a person.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    colour: bool,
}

/// A colour with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it should be.
    Good,
    /// On its way, or waiting.
    Busy,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
}

impl Style {
    /// Colours on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
    pub(crate) fn detect() -> Self {
        let refused = crate::settings::environment().get("NO_COLOR").is_some_and(|text| !text.is_empty());
        Self { colour: io::stdout().is_terminal() && !refused }
    }

    /// Whether colours are wanted.
    pub(crate) const fn colour(self) -> bool {
        self.colour
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { colour: false }
    }

    /// Colours.
    #[cfg(test)]
    pub(crate) const fn coloured() -> Self {
        Self { colour: true }
    }

    /// The text in a colour, or as it is.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Good => "32",
            Paint::Busy => "33",
            Paint::Bad => "31",
            Paint::Dim => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
