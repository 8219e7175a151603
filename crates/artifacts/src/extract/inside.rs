//! Pure: names of archive entries, and whether each leads to a place of its own inside the tree.

use std::collections::BTreeMap;

/// Bounds on a name.
#[derive(Debug, Clone, Copy)]
pub struct NameBounds {
    /// Most components, the file itself included.
    pub depth: usize,
    /// Most bytes of one component.
    pub component_bytes: usize,
    /// Most bytes of the whole name.
    pub total_bytes: usize,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
}

/// Checks the raw name of an entry and returns it as a relative path of plain components joined by `/`.
///
/// The root itself (`.`, `./`), which `tar -C dir .` writes, comes back empty. Otherwise every component is plain, so the
/// result can be joined to any folder and stays inside.
pub fn plain(raw: &[u8], kind: Kind, bounds: &NameBounds) -> Result<String, String> {
    if raw.len() > bounds.total_bytes {
        return Err(format!("the name has {} bytes; at most {} are allowed", raw.len(), bounds.total_bytes));
    }
    let name = std::str::from_utf8(raw).map_err(|_| "the name is not UTF-8".to_owned())?;
    if let Some(bad) = name.chars().find(|c| is_forbidden(*c)) {
        return Err(format!("the name holds {bad:?}, which is not allowed"));
    }
    if name.starts_with('/') {
        return Err("the name is absolute; use names relative to the bundle".to_owned());
    }
    let name = match kind {
        Kind::Directory => name.strip_suffix('/').unwrap_or(name),
        Kind::File => name,
    };
    if kind == Kind::Directory && name == "." {
        return Ok(String::new());
    }
    // Only one leading `./`, as tar writes it; any further `.` is a disguise.
    let name = name.strip_prefix("./").unwrap_or(name);
    let components: Vec<&str> = name.split('/').collect();
    if components.len() > bounds.depth {
        return Err(format!(
            "it lies {} folders deep; at most {} are allowed",
            components.len(),
            bounds.depth
        ));
    }
    for component in &components {
        check_component(component, bounds)?;
    }
    Ok(components.join("/"))
}

fn check_component(component: &str, bounds: &NameBounds) -> Result<(), String> {
    match component {
        "" => return Err("the name has an empty part".to_owned()),
        "." => return Err("the name has a part `.`".to_owned()),
        ".." => return Err("the name has a part `..`, which could lead outside".to_owned()),
        _ => {}
    }
    if component.len() > bounds.component_bytes {
        let (have, most) = (component.len(), bounds.component_bytes);
        return Err(format!("a part of the name has {have} bytes; at most {most} are allowed"));
    }
    let bytes = component.as_bytes();
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err("the name starts like a drive (`C:`)".to_owned());
    }
    Ok(())
}

/// Control characters break logs and terminals; backslash is a separator elsewhere; the rest is invisible or turns text
/// around, so that a name looks like another.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\\' | '\u{ad}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

/// The names an archive has used so far.
#[derive(Debug, Default)]
pub struct Names {
    /// By lower case: as first written, and what it is. Parents are in it too.
    taken: BTreeMap<String, (String, Kind)>,
}

impl Names {
    /// Takes a checked name, or says what it collides with. A folder may be named again, a file may not.
    pub fn take(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        for (at, _) in name.match_indices('/') {
            self.take_one(&name[..at], Kind::Directory)?;
        }
        self.take_one(name, kind)
    }

    fn take_one(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        let folded = name.to_lowercase();
        match self.taken.get(&folded) {
            None => {
                self.taken.insert(folded, (name.to_owned(), kind));
                Ok(())
            }
            Some((before, _)) if before != name => Err(format!("it differs only in case from {before:?}")),
            Some((_, Kind::Directory)) if kind == Kind::Directory => Ok(()),
            Some((_, before)) if *before == kind => Err("the name appears twice".to_owned()),
            Some(_) => Err(format!("{name:?} is a file and a folder at once")),
        }
    }
}

#[cfg(test)]
mod tests;
