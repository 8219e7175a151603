//! Pure: what the text of a code location means.

use std::path::PathBuf;

/// A parsed location.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location<'a> {
    /// A key in the code bucket.
    Key(&'a str),
    /// `s3://bucket/key`.
    S3 { bucket: &'a str, key: &'a str },
    /// `gs://bucket/key`.
    Gcs { bucket: &'a str, key: &'a str },
    /// `file:///path`.
    File(PathBuf),
}

/// Parses a location, or says what is wrong with it.
pub(super) fn parse(location: &str) -> Result<Location<'_>, String> {
    if location.is_empty() {
        return Err("it is empty; give a key or a URL".into());
    }
    if location.contains(char::is_control) {
        return Err("it holds a control character".into());
    }
    let Some((scheme, rest)) = location.split_once("://") else {
        return key(location).map(Location::Key);
    };
    match scheme {
        "s3" => bucket_and_key(rest).map(|(bucket, key)| Location::S3 { bucket, key }),
        "gs" => bucket_and_key(rest).map(|(bucket, key)| Location::Gcs { bucket, key }),
        "file" if rest.starts_with('/') => Ok(Location::File(PathBuf::from(rest))),
        "file" => Err("use file:///absolute/path".into()),
        _ => Err(format!("{scheme}:// is not supported; use a key, s3://, gs:// or file:///")),
    }
}

fn bucket_and_key(rest: &str) -> Result<(&str, &str), String> {
    let (bucket, rest) = rest.split_once('/').ok_or("the key after the bucket is missing")?;
    Ok((bucket, key(rest)?))
}

fn key(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("the key is empty".into());
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("the key has an empty part, `.` or `..`".into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_told_apart() {
        assert_eq!(parse("u/b/1.0.0").unwrap(), Location::Key("u/b/1.0.0"));
        assert_eq!(parse("s3://b/k/x.zip").unwrap(), Location::S3 { bucket: "b", key: "k/x.zip" });
        assert_eq!(parse("gs://b/k").unwrap(), Location::Gcs { bucket: "b", key: "k" });
        assert_eq!(parse("file:///a/b").unwrap(), Location::File("/a/b".into()));
        for bad in
            ["", "../x", "a/../b", "/a", "a//b", "a\0b", "s3://b", "s3://b/", "http://x/y", "file://x/y"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
