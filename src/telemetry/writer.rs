//! The last step of a log line: masked, bounded, written in one piece.

use super::mask;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;

/// The host cuts a longer line into pieces, which are then no JSON any more.
pub const MAX_LINE_BYTES: usize = 32 * 1024;

/// Makes a [`MaskedWriter`] for each log line.
#[derive(Debug, Clone)]
pub struct MaskedLines<F>(F);

impl<F> MaskedLines<F> {
    /// Lines go to what `output` makes.
    pub fn new(output: F) -> Self {
        Self(output)
    }
}

impl<'w, F, W> MakeWriter<'w> for MaskedLines<F>
where
    F: Fn() -> W,
    W: Write,
{
    type Writer = MaskedWriter<W>;

    fn make_writer(&'w self) -> Self::Writer {
        MaskedWriter((self.0)())
    }
}

/// Writes one log line: what comes in at once goes out masked and at most [`MAX_LINE_BYTES`] long.
#[derive(Debug)]
pub struct MaskedWriter<W>(W);

impl<W: Write> Write for MaskedWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let masked = mask(&text);
        if masked.len() <= MAX_LINE_BYTES {
            self.0.write_all(masked.as_bytes())?;
        } else {
            let start: String = masked.chars().take(1000).collect();
            let cut = serde_json::json!({
                "level": "WARN",
                "message": format!("a log line of {} bytes was cut", masked.len()),
                "code": "log_line_cut",
                "start": start,
            });
            self.0.write_all(format!("{cut}\n").as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TelemetrySettings;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(log: impl FnOnce()) -> Vec<serde_json::Value> {
        let sink = Sink::default();
        let output = sink.clone();
        let settings = TelemetrySettings { filter: "info".into() };
        let subscriber = crate::telemetry::subscriber(&settings, MaskedLines::new(move || output.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_one_json_object_with_message_and_fields() {
        let lines = lines_of(|| {
            tracing::info!(task.id = "t1", "two\nlines");
            tracing::debug!("filtered");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["message"], &lines[0]["task.id"]), (&"two\nlines".into(), &"t1".into()));
        assert_eq!(lines[0]["level"], "INFO");
    }

    #[test]
    fn a_key_in_a_field_is_masked() {
        let lines =
            lines_of(|| tracing::info!(url = "/api/tasks?code=s3cret&x=1", "asked with ?code=s3cret"));
        assert_eq!(lines[0]["url"], "/api/tasks?code=***&x=1");
        assert_eq!(lines[0]["message"], "asked with ?code=***");
    }

    #[test]
    fn a_very_long_line_is_cut_and_stays_json() {
        let lines = lines_of(|| tracing::info!("{}", "x".repeat(MAX_LINE_BYTES)));
        assert_eq!(lines[0]["code"], "log_line_cut");
        assert!(lines[0].to_string().len() < 2000);
    }
}
