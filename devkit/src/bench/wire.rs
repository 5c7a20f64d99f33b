//! The thinnest clients there are, for measuring: RESP and HTTP/1.1 on a blocking socket.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

/// A connection to a port of 127.0.0.1.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    pub fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream), line: String::new(), body: Vec::new() })
    }

    /// Sends a command (see [`resp`]) and reads its reply: a status, a number or a text.
    pub fn redis(&mut self, command: &[u8]) -> anyhow::Result<String> {
        self.stream.get_mut().write_all(command)?;
        self.read_line()?;
        let line = self.line.trim_end();
        match line.split_at_checked(1) {
            Some(("+" | ":", value)) => Ok(value.to_owned()),
            Some(("$", length)) => {
                let length: usize = length.parse().context("a text from Redis")?;
                self.read_body(length + 2)?;
                Ok(String::from_utf8_lossy(self.body.get(..length).unwrap_or_default()).into_owned())
            }
            _ => bail!("Redis answered {line}"),
        }
    }

    /// Sends a request and reads its answer; the status must be `status`.
    pub fn http(&mut self, request: &[u8], status: &str) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(request)?;
        self.read_line()?;
        let fits = self.line.split(' ').nth(1) == Some(status);
        let status_line = self.line.trim_end().to_owned();
        let mut length = None;
        loop {
            self.read_line()?;
            let header = self.line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>().context("content-length")?);
            }
        }
        self.read_body(length.context("an answer without content-length")?)?;
        ensure!(fits, "wanted {status}, got {status_line}: {}", String::from_utf8_lossy(&self.body));
        Ok(())
    }

    fn read_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        ensure!(self.stream.read_line(&mut self.line)? > 0, "the connection was closed");
        Ok(())
    }

    fn read_body(&mut self, length: usize) -> anyhow::Result<()> {
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(())
    }
}

/// A command as Redis reads it.
pub(super) fn resp(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A request as the Functions host would pass it on.
pub(super) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n");
    format!("{head}Content-Type: application/json\r\n\r\n{body}").into_bytes()
}
