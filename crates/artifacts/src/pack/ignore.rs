//! Pure: which files of a folder stay out of a bundle.

/// Rules of a `.the0ignore`, and those that always hold.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Components; `**` stands for any number of them.
    parts: Vec<String>,
    only_folders: bool,
}

impl Ignore {
    /// Reads rules: one per line, `#` starts a comment, `*` and `?` stand for anything within a name, `**` for any
    /// folders, a `/` at the end for folders only, one elsewhere ties the rule to the top.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('!') || line.contains(['[', ']', '\\']) {
                let line_number = number + 1;
                return Err(format!(
                    "line {line_number}, {line:?}: only `*`, `?`, `**` and `/` are understood"
                ));
            }
            let only_folders = line.ends_with('/');
            let pattern = line.trim_end_matches('/');
            let tied = pattern.contains('/');
            let mut parts: Vec<String> =
                pattern.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            if !tied {
                parts.insert(0, "**".to_owned());
            }
            rules.push(Rule { parts, only_folders });
        }
        Ok(Self { rules })
    }

    /// Whether the entry (relative, joined by `/`) stays out. What is below a folder that stays out is not asked about.
    pub(super) fn skips(&self, name: &str, is_folder: bool) -> bool {
        let parts: Vec<&str> = name.split('/').collect();
        let last = parts.last().copied().unwrap_or_default();
        let extension = last.rsplit_once('.').map(|(_, extension)| extension);
        if last.starts_with('.') || last == "__pycache__" || (!is_folder && extension == Some("pyc")) {
            return true;
        }
        self.rules.iter().any(|rule| (is_folder || !rule.only_folders) && path_matches(&rule.parts, &parts))
    }
}

fn path_matches(pattern: &[String], parts: &[&str]) -> bool {
    matches_by(
        pattern,
        parts,
        |part| part == "**",
        |part, name| {
            let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
            matches_by(&part, &name, |c| *c == '*', |c, n| *c == '?' || c == n)
        },
    )
}

/// Matches a sequence with wildcards that stand for any number of items. Goes back to the last wildcard only, so the
/// cost is at most the product of the lengths.
fn matches_by<P, T>(
    pattern: &[P],
    items: &[T],
    is_any: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut i) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while i < items.len() {
        if p < pattern.len() && is_any(&pattern[p]) {
            back = Some((p, i));
            p += 1;
        } else if p < pattern.len() && fits(&pattern[p], &items[i]) {
            p += 1;
            i += 1;
        } else if let Some((wildcard, from)) = back {
            back = Some((wildcard, from + 1));
            p = wildcard + 1;
            i = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_match_as_documented() {
        let ignore = Ignore::parse("# data\n*.csv\n/build/\ndocs/**/x?\nlogs/\n").unwrap();
        let skipped = [("a.csv", false), ("d/e/a.csv", false), ("build", true), ("docs/a/b/x1", false)];
        let more = [
            ("docs/x1", false),
            ("deep/logs", true),
            (".env", false),
            ("a/__pycache__", true),
            ("a.pyc", false),
        ];
        for (name, folder) in skipped.into_iter().chain(more) {
            assert!(ignore.skips(name, folder), "{name}");
        }
        for (name, folder) in [("a.csv2", false), ("logs", false), ("docs/a/x12", false), ("main.py", false)]
        {
            assert!(!ignore.skips(name, folder), "{name}");
        }
        assert!(Ignore::parse("!keep").unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_nasty_pattern_ends() {
        let ignore = Ignore::parse(&"*a".repeat(100)).unwrap();
        assert!(!ignore.skips(&"a".repeat(5000).replace("aaaaa", "aaaab"), false));
    }
}
