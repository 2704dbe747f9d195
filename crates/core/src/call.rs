//! Calls to an endpoint of the operator's: what enriches an event that carries no URL, or gives a new URL for one that
//! has expired.
//!
//! Owns the templates (what is asked, with fields of the event put in) and the reading of the answer. The endpoint's
//! scheme, host and port are fixed by the template: no event can choose whom we ask.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use jmespath::{Expression, Variable};
use serde_json::Value;
use url::Url;

use crate::outcome::{Class, Failure, Reason};
use crate::policy::redact::redact_url;
use crate::secret::Secret;

/// The method of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
}

impl Method {
    /// Its name in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// Why a call cannot be made as it is configured, or not of this event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A brace without its other.
    #[error("a brace has no other: write {{name}} for a field, {{{{ and }}}} for the braces themselves")]
    Brace,
    /// The URL is none, or has no fixed host.
    #[error("the URL of the call is not usable: {0}; write it like https://api.example.com/items/{{id}}")]
    Url(String),
    /// No JMESPath expression.
    #[error("`{expression}` is not a JMESPath expression: {cause}")]
    Expression {
        /// As configured.
        expression: String,
        /// What the parser says.
        cause: String,
    },
    /// A body on a `GET`.
    #[error("a GET has no body: use POST, or leave the body out")]
    BodyOnGet,
    /// The event lacks a field that the call needs.
    #[error("the call needs the field `{0}`, which is absent or empty")]
    Missing(String),
    /// A value would lead out of the place that the template gives it.
    #[error("the call's path would hold `.` or `..` as a part of its own")]
    DotSegment,
}

/// What is asked, with `{name}` where a field stands: in the URL percent-encoded (all but the unreserved characters of
/// RFC 3986 §2.3), in the texts of the body as they are.
#[derive(Clone, PartialEq)]
pub struct CallTemplate {
    method: Method,
    url: Text,
    endpoint: Url,
    headers: Vec<(String, Secret)>,
    body: Option<Node>,
}

impl CallTemplate {
    /// Reads a template. Scheme, host and port stand there as they are, without fields and without userinfo.
    pub fn parse(
        method: Method,
        url: &str,
        headers: Vec<(String, Secret)>,
        body: Option<&Value>,
    ) -> Result<CallTemplate, CallError> {
        if method == Method::Get && body.is_some() {
            return Err(CallError::BodyOnGet);
        }
        let url = Text::parse(url.trim())?;
        let endpoint = endpoint(&url)?;
        let template = CallTemplate { method, endpoint, url, headers, body: body.map(Node::parse).transpose()? };
        let sample = template.fields().into_iter().map(|name| (name.to_owned(), "x".to_owned())).collect();
        template.render(&sample)?;
        Ok(template)
    }

    /// Scheme, host and port that are asked.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The fields that it needs.
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.url.fields(&mut names);
        self.body.iter().for_each(|body| body.fields(&mut names));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The call with these fields. An absent or empty one is an error, since the call would ask for something else.
    pub fn render(&self, fields: &BTreeMap<String, String>) -> Result<Call, CallError> {
        let url = self.url.render(fields, percent_encoded)?;
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if path.split('/').any(is_dot_segment) {
            return Err(CallError::DotSegment);
        }
        let body = self.body.as_ref().map(|body| body.render(fields)).transpose()?;
        let body = body.map(|json| Bytes::from(json.to_string()));
        Ok(Call { method: self.method, url, headers: self.headers.clone(), body })
    }
}

impl fmt::Debug for CallTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.endpoint.host_str().unwrap_or_default())
    }
}

/// A call to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Headers on top of those that the adapter sends itself.
    pub headers: Vec<(String, Secret)>,
    /// The body, JSON.
    pub body: Option<Bytes>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), redact_url(&self.url))
    }
}

/// What a call's template reads in an event: names and JMESPath expressions.
#[derive(Debug, Clone)]
pub struct Fields(Vec<(String, Expression<'static>)>);

impl Fields {
    /// Reads names and expressions.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, CallError> {
        let read = |(name, text): (&str, &str)| Ok((name.to_owned(), compile(text)?));
        pairs.into_iter().map(read).collect::<Result<_, _>>().map(Fields)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Their values in an event, as texts; absent ones and nulls are left out. An event that is not JSON, or has a list
    /// or an object in such a place, is poison.
    pub fn read(&self, event: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
        let event = variable(event).map_err(|cause| poison(format!("the event is not JSON: {cause}")))?;
        let mut values = BTreeMap::new();
        for (name, expression) in &self.0 {
            match text(expression, &event) {
                Found::Text(value) => drop(values.insert(name.clone(), value)),
                Found::Nothing => {}
                Found::Other(what) => return Err(poison(format!("the field `{name}` ({}) {what}", expression.as_str()))),
            }
        }
        Ok(values)
    }
}

/// Where a text stands in an answer.
#[derive(Debug, Clone)]
pub struct Pick(Expression<'static>);

impl Pick {
    /// Reads a JMESPath expression.
    pub fn parse(expression: &str) -> Result<Self, CallError> {
        compile(expression).map(Pick)
    }

    /// The text in an answer; an answer without it is a permanent failure.
    pub fn text(&self, answer: &[u8]) -> Result<String, Failure> {
        check_answer(answer)?;
        let answer = variable(answer).map_err(|cause| not_json(&cause))?;
        match text(&self.0, &answer) {
            Found::Text(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(Failure::new(Class::Permanent, Reason::Lookup, format!("the answer has no text at `{}`", self.0.as_str()))),
        }
    }
}

/// Whether an answer is JSON. One that is not is transient: it is rather a page of something between us and the endpoint.
pub fn check_answer(answer: &[u8]) -> Result<(), Failure> {
    let text = std::str::from_utf8(answer).map_err(|_| not_json("it is not UTF-8"))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(|error| not_json(&error.to_string()))
}

/// What a failed call for a new URL means for the task whose URL has expired. What cannot succeed is `expired`; what may
/// pass climbs the ladder with the reason `lookup`, which says nothing about the attachment's own host.
pub fn refresh_failure(failure: Failure) -> Failure {
    let message = format!("the URL has expired, and no new one was to be had: {}", failure.message);
    match failure.class {
        Class::Transient | Class::Throttled => Failure { reason: Reason::Lookup, message, ..failure },
        _ => Failure { class: Class::Permanent, reason: Reason::Expired, message, ..failure },
    }
}

fn not_json(cause: &str) -> Failure {
    Failure::new(Class::Transient, Reason::Lookup, format!("the endpoint's answer is not JSON: {cause}"))
}

fn poison(message: String) -> Failure {
    Failure::new(Class::Poison, Reason::Undecodable, message)
}

fn compile(expression: &str) -> Result<Expression<'static>, CallError> {
    jmespath::compile(expression).map_err(|error| CallError::Expression {
        expression: expression.to_owned(),
        cause: error.to_string().lines().next().unwrap_or_default().to_owned(),
    })
}

fn variable(json: &[u8]) -> Result<Variable, String> {
    let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

enum Found {
    Text(String),
    Nothing,
    Other(&'static str),
}

fn text(expression: &Expression<'static>, json: &Variable) -> Found {
    let Ok(found) = expression.search(json) else { return Found::Other("cannot be evaluated") };
    match &*found {
        Variable::String(text) => Found::Text(text.clone()),
        Variable::Number(number) => Found::Text(number.to_string()),
        Variable::Bool(value) => Found::Text(value.to_string()),
        Variable::Null => Found::Nothing,
        Variable::Array(_) | Variable::Object(_) | Variable::Expref(_) => Found::Other("is not a text or a number"),
    }
}

/// A text with fields in it.
#[derive(Clone, PartialEq)]
struct Text(Vec<Part>);

#[derive(Clone, PartialEq)]
enum Part {
    Literal(String),
    Field(String),
}

impl Text {
    fn parse(text: &str) -> Result<Self, CallError> {
        let (mut parts, mut literal, mut chars) = (Vec::new(), String::new(), text.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.next_if_eq(&c).is_some() => literal.push(c),
                '{' => {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    let name: String = std::iter::from_fn(|| chars.next_if(|c| !matches!(c, '{' | '}'))).collect();
                    if chars.next() != Some('}') || name.trim().is_empty() {
                        return Err(CallError::Brace);
                    }
                    parts.push(Part::Field(name.trim().to_owned()));
                }
                '}' => return Err(CallError::Brace),
                other => literal.push(other),
            }
        }
        parts.push(Part::Literal(literal));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Ok(Text(parts))
    }

    fn fields<'a>(&'a self, names: &mut Vec<&'a str>) {
        names.extend(self.0.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        }));
    }

    fn render(&self, fields: &BTreeMap<String, String>, encode: fn(&str) -> String) -> Result<String, CallError> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Field(name) => {
                    let value = fields.get(name).filter(|value| !value.trim().is_empty());
                    out.push_str(&encode(value.ok_or_else(|| CallError::Missing(name.clone()))?));
                }
            }
        }
        Ok(out)
    }
}

/// A JSON value with fields in its texts.
#[derive(Clone, PartialEq)]
enum Node {
    Text(Text),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    Other(Value),
}

impl Node {
    fn parse(value: &Value) -> Result<Self, CallError> {
        Ok(match value {
            Value::String(text) => Node::Text(Text::parse(text)?),
            Value::Array(items) => Node::List(items.iter().map(Node::parse).collect::<Result<_, _>>()?),
            Value::Object(entries) => {
                let read = |(name, value): (&String, &Value)| Ok((name.clone(), Node::parse(value)?));
                Node::Object(entries.iter().map(read).collect::<Result<_, _>>()?)
            }
            other => Node::Other(other.clone()),
        })
    }

    fn fields<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Node::Text(text) => text.fields(names),
            Node::List(items) => items.iter().for_each(|item| item.fields(names)),
            Node::Object(entries) => entries.iter().for_each(|(_, value)| value.fields(names)),
            Node::Other(_) => {}
        }
    }

    fn render(&self, fields: &BTreeMap<String, String>) -> Result<Value, CallError> {
        Ok(match self {
            Node::Text(text) => Value::String(text.render(fields, str::to_owned)?),
            Node::List(items) => Value::Array(items.iter().map(|item| item.render(fields)).collect::<Result<_, _>>()?),
            Node::Object(entries) => {
                let render = |(name, node): &(String, Node)| Ok((name.clone(), node.render(fields)?));
                Value::Object(entries.iter().map(render).collect::<Result<_, _>>()?)
            }
            Node::Other(value) => value.clone(),
        })
    }
}

/// The fixed beginning of a URL's template, which must hold scheme, host and port whole.
fn endpoint(template: &Text) -> Result<Url, CallError> {
    let unusable = |why: &str| CallError::Url(why.to_owned());
    let Some(Part::Literal(begin)) = template.0.first() else { return Err(unusable("it begins with a field")) };
    let (_, rest) = begin.split_once("://").ok_or_else(|| unusable("it does not begin with https:// and a host"))?;
    if rest.starts_with(['/', '\\']) {
        return Err(unusable("it has no host"));
    }
    if template.0.len() > 1 && !rest.contains(['/', '?', '#']) {
        return Err(unusable("its host is not fixed"));
    }
    let url = Url::parse(begin).map_err(|error| CallError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(unusable("only https (or http) is asked"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable("it carries a user or a password; send an Authorization header"));
    }
    url.join("/").map_err(|error| CallError::Url(error.to_string()))
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
