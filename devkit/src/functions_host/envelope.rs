//! The JSON envelope in which triggers reach the handler, and how the host reads the answer.

use super::{
    newtonsoft::{Json, double, quote},
    ticks::Ticks,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The host version that the emulator names.
pub const HOST_VERSION: &str = "4.1037.0.0";

/// What an invocation carries.
#[derive(Clone, Debug)]
pub struct Invocation<'a> {
    /// The function, in its folder's spelling.
    pub function: &'a str,
    /// The trigger binding's name.
    pub binding: &'a str,
    /// The trigger's data, as JSON text.
    pub data: &'a str,
    /// The invocation id.
    pub id: &'a str,
    /// `sys.RandGuid`.
    pub random: &'a str,
    /// `sys.UtcNow`.
    pub now: Ticks,
    /// `input` of a run through the admin API.
    pub input: Option<&'a str>,
    /// `RetryContext`, as JSON text, where the function has a retry policy.
    pub retry: Option<&'a str>,
}

/// The body of the request that runs a trigger.
pub fn envelope(call: &Invocation<'_>) -> String {
    let input = call
        .input
        .map_or(String::new(), |input| format!("{}:{},", quote(call.binding), quote(&quote(input))));
    let retry = call.retry.map_or(String::new(), |context| format!(",\"RetryContext\":{context}"));
    format!(
        "{{\"Data\":{{{}:{}}},\"Metadata\":{{{input}\"sys\":{{\"MethodName\":{},\"UtcNow\":\"{}Z\",\"RandGuid\":\"{}\"}}{retry}}}}}",
        quote(call.binding),
        call.data,
        quote(call.function),
        call.now.iso(),
        call.random,
    )
}

/// `RetryContext` for the attempt after `count` retries; `failed` is the invocation that failed before and why.
pub fn retry_context(function: &str, count: u32, most: i64, failed: Option<(&str, &str)>) -> String {
    let exception = failed.map_or("null".to_owned(), |(id, why)| {
        let status = why.split("success: ").nth(1).and_then(|rest| rest.get(..3)).and_then(|code| code.parse::<u16>().ok());
        let status = status.map_or("null".to_owned(), |code| code.to_string());
        format!(
            "{{\"InstanceId\":{},\"MethodName\":{},\"Handled\":false,\
             \"ClassName\":\"Microsoft.Azure.WebJobs.Host.FunctionInvocationException\",\"Message\":{},\"Data\":null,\
             \"InnerException\":{{\"HttpRequestError\":0,\"StatusCode\":{status},\"Message\":{},\"Data\":{{}},\
             \"InnerException\":null,\"HelpLink\":null,\"Source\":\"System.Net.Http\",\"HResult\":-2146233088,\
             \"StackTrace\":\"\"}},\"HelpURL\":null,\"StackTraceString\":\"\",\"RemoteStackTraceString\":null,\
             \"RemoteStackIndex\":0,\"ExceptionMethod\":null,\"HResult\":-2146233088,\"Source\":\"System.Private.CoreLib\",\
             \"WatsonBuckets\":null}}",
            quote(id),
            quote(&format!("Host.Functions.{function}")),
            quote(&format!("Exception while executing function: Functions.{function}")),
            quote(why),
        )
    });
    format!(
        "{{\"RetryCount\":{count},\"MaxRetryCount\":{most},\"Exception\":{exception},\"Instance\":null,\"State\":{{}}}}"
    )
}

/// The whole request on the wire, in chunks of 1024 bytes as the host's client writes it.
pub fn request_bytes(function: &str, port: u16, id: &str, body: &str) -> Vec<u8> {
    let mut out = format!(
        "POST /{function} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Azure-Functions-HostVersion: {HOST_VERSION}\r\n\
         X-Azure-Functions-InvocationId: {id}\r\nUser-Agent: Azure-Functions-Host/{HOST_VERSION}\r\n\
         Transfer-Encoding: chunked\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
    )
    .into_bytes();
    for piece in body.as_bytes().chunks(1024) {
        out.extend_from_slice(&super::http1::chunk(piece));
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// An output value after the base64 rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Nothing.
    Null,
    /// A text that was valid base64.
    Bytes(Vec<u8>),
    /// Everything else.
    Value(Json),
}

/// An answer that the host could read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// `Logs`; `None` where the member is missing or null.
    pub logs: Option<Vec<Option<String>>>,
    /// `Outputs` in order, base64 rule applied.
    pub outputs: Option<Vec<(String, Output)>>,
    /// `ReturnValue`.
    pub return_value: Option<Json>,
}

/// Reads the body of an answer; `Ok(None)` is an answer that never completes the invocation.
///
/// # Errors
/// Why the host cannot read it.
pub fn read_answer(body: &str) -> Result<Option<Answer>, String> {
    let members = match Json::parse(body)? {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Object(members)) => members,
        Some(_) => return Err("the answer is no JSON object".to_owned()),
    };
    let mut answer = Answer::default();
    for (name, value) in members {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("logs", Json::Null) => answer.logs = None,
            ("logs", Json::Array(lines)) => {
                let lines = lines.into_iter().map(log_line).collect::<Result<Vec<_>, _>>()?;
                answer.logs.get_or_insert_default().extend(lines);
            }
            ("logs", _) => return Err("Logs is no array of texts".to_owned()),
            ("outputs", Json::Null) => answer.outputs = None,
            ("outputs", Json::Object(values)) => {
                let outputs = answer.outputs.get_or_insert_default();
                for (name, value) in values {
                    outputs.retain(|(known, _)| *known != name);
                    outputs.push((name, output(value)));
                }
            }
            ("outputs", _) => return Err("Outputs is no JSON object".to_owned()),
            ("returnvalue", Json::Null) => answer.return_value = None,
            ("returnvalue", value) => answer.return_value = Some(value),
            _ => {}
        }
    }
    Ok(Some(answer))
}

fn log_line(value: Json) -> Result<Option<String>, String> {
    match value {
        Json::Null => Ok(None),
        Json::Bool(flag) => Ok(Some(flag.to_string())),
        Json::Integer(digits) => Ok(Some(digits)),
        Json::Double(number) => Ok(Some(double(number, true))),
        Json::Text(text) => Ok(Some(text)),
        Json::Array(_) | Json::Object(_) => Err("Logs holds something that is no text".to_owned()),
    }
}

/// A text that .NET can read as base64 becomes bytes, the empty one too.
fn output(value: Json) -> Output {
    match value {
        Json::Null => Output::Null,
        Json::Text(text) if Json::Text(text.clone()).date().is_none() => {
            let bare: String =
                text.chars().filter(|character| !matches!(character, ' ' | '\t' | '\n' | '\r')).collect();
            match STANDARD.decode(&bare) {
                Ok(bytes) => Output::Bytes(bytes),
                Err(_) => Output::Value(Json::Text(text)),
            }
        }
        other => Output::Value(other),
    }
}

/// How .NET's `ToString` shows a date: in UTC, month first.
pub fn date_text(date: Ticks) -> String {
    let p = date.parts();
    format!("{:02}/{:02}/{:04} {:02}:{:02}:{:02}", p.month, p.day, p.year, p.hour, p.minute, p.second)
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum InvocationOutcome {
    /// The handler answered as it should.
    Succeeded {
        /// Its `Logs`, null lines as `[null]`.
        logs: Vec<String>,
    },
    /// The run failed.
    Failed {
        /// What the host says.
        error: String,
    },
    /// The answer was empty or `null`: on the real host the invocation hangs until functionTimeout,
    /// then the process is killed. The emulator reports it at once.
    NeverCompleted {
        /// What the answer was.
        why: String,
    },
}

impl InvocationOutcome {
    /// Whether it is a success.
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }
}

/// What the handler answered to a trigger.
#[derive(Clone, Debug)]
pub struct TriggerReply {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Content-Type.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl TriggerReply {
    /// The outcome that the host makes of it.
    pub fn outcome(&self) -> InvocationOutcome {
        if !(200..300).contains(&self.status) {
            let reason =
                if self.reason.is_empty() { super::http1::server::reason(self.status) } else { &self.reason };
            return InvocationOutcome::Failed {
                error: format!("Response status code does not indicate success: {} ({reason}).", self.status),
            };
        }
        if self.body.is_empty() {
            return InvocationOutcome::NeverCompleted {
                why: format!("status {} with an empty body", self.status),
            };
        }
        let kind = self
            .content_type
            .as_deref()
            .unwrap_or("")
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase();
        let invalid = |why: &str| InvocationOutcome::Failed {
            error: format!(
                "Invalid HttpResponseMessage: StatusCode: {}, ReasonPhrase: '{}': {why}",
                self.status, self.reason
            ),
        };
        if !matches!(kind.as_str(), "application/json" | "text/json") {
            return invalid(&format!("Content-Type '{kind}' is neither application/json nor text/json"));
        }
        match read_answer(&String::from_utf8_lossy(&self.body)) {
            Err(why) => invalid(&why),
            Ok(None) => InvocationOutcome::NeverCompleted { why: "the body is blank or null".to_owned() },
            Ok(Some(answer)) => InvocationOutcome::Succeeded {
                logs: answer
                    .logs
                    .unwrap_or_default()
                    .into_iter()
                    .map(|line| line.map_or("[null]".to_owned(), |line| line.replace('\n', " ")))
                    .collect(),
            },
        }
    }
}
