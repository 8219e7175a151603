//! `runtime bots config get` and `set`.

use serde_json::{Map, Value};
use the0_proto::bot::v1::{GetBotRequest, SetBotConfigRequest};

use super::{Client, answer, json};
use crate::{
    exit::{Exit, Failure},
    output,
};

pub(super) async fn get(mut client: Client, bot_id: String, show_secrets: bool) -> Result<Exit, Failure> {
    let bot = answer(client.rpc.get_bot(GetBotRequest { bot_id, show_secrets, usage: false }).await)?;
    output::json(&json::config(&bot))?;
    Ok(Exit::Ok)
}

pub(super) async fn set(
    mut client: Client,
    bot_id: String,
    values: &[String],
    merge: bool,
    revision: Option<i64>,
) -> Result<Exit, Failure> {
    let pairs = values.iter().all(|value| is_pair(value));
    let config_json = match values {
        [document] if !pairs => document_of(document)?,
        _ if pairs => Value::Object(from_pairs(values)?).to_string(),
        _ => return Err(Failure::usage("give one JSON object or @file, or only KEY=VALUE pairs")),
    };
    let expected_revision = revision.unwrap_or(0);
    let request = SetBotConfigRequest { bot_id, config_json, merge: merge || pairs, expected_revision };
    let bot = answer(client.rpc.set_bot_config(request).await)?;
    if client.json {
        output::json(&json::bot(&bot))?;
    } else {
        output::line(format!("{} has revision {} now", bot.id, bot.revision))?;
    }
    Ok(Exit::Ok)
}

/// Text, or the content of `@file`. Whether it is JSON is for the service to say: one place decides.
pub(super) fn document_of(text: &str) -> Result<String, Failure> {
    match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{path} cannot be read: {error}"))),
        None => Ok(text.to_owned()),
    }
}

/// `key=value` pairs; a value that is JSON is taken as such, any other as text.
pub(super) fn from_pairs(pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let one = |pair: &String| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((key.to_owned(), value))
        }
        _ => Err(Failure::usage(format!("{pair:?} is not KEY=VALUE"))),
    };
    pairs.iter().map(one).collect()
}

fn is_pair(text: &str) -> bool {
    !text.trim_start().starts_with('{') && !text.starts_with('@') && text.contains('=')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_json_or_text() {
        let pairs = ["a=1".to_owned(), "b=x=y".to_owned(), "c=null".to_owned(), "d=\"1\"".to_owned()];
        assert_eq!(
            Value::Object(from_pairs(&pairs).unwrap()),
            json!({"a": 1, "b": "x=y", "c": null, "d": "1"})
        );
        assert!(from_pairs(&["=1".to_owned()]).is_err() && from_pairs(&["x".to_owned()]).is_err());
    }

    #[test]
    fn an_object_is_no_pair() {
        assert!(is_pair("a={}") && !is_pair("{\"a\": \"=\"}") && !is_pair("@a=b") && !is_pair("a"));
    }
}
