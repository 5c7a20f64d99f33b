//! Route templates: reading `items/{id:int?}` and matching a path against it, as ASP.NET Core routing does.

use super::constraints::Constraint;
use std::collections::BTreeMap;

/// The values of a route's parameters; an optional one that is not in the path is `None`.
pub type RouteValues = BTreeMap<String, Option<String>>;

/// A parsed route template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    segments: Vec<Vec<Part>>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Parameter(Parameter),
}

#[derive(Clone, Debug)]
struct Parameter {
    name: String,
    catch_all: bool,
    optional: bool,
    default: Option<String>,
    constraints: Vec<Constraint>,
}

impl Template {
    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads a template.
    ///
    /// # Errors
    /// Why the router refuses it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.strip_prefix("~/").or_else(|| text.strip_prefix('/')).unwrap_or(text);
        if trimmed.starts_with('~') {
            return Err(
                "The route template cannot start with a '~' character unless followed by a '/'.".to_owned()
            );
        }
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segments = if trimmed.is_empty() && !text.ends_with("//") {
            Vec::new()
        } else {
            split_segments(trimmed)?
                .iter()
                .map(|segment| parse_segment(segment))
                .collect::<Result<Vec<_>, _>>()?
        };
        check(&segments)?;
        Ok(Self { text: text.to_owned(), segments })
    }

    fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        parameters(&self.segments)
    }

    /// The route values if the path fits this template and its constraints.
    pub fn matches(&self, path: &str) -> Option<RouteValues> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let rest = path.strip_prefix('/').unwrap_or(path);
        // Where each path segment starts and what it is; one trailing slash opens no segment.
        let mut offsets = Vec::new();
        let mut at = 0;
        while at < rest.len() {
            let end = rest[at..].find('/').map_or(rest.len(), |length| at + length);
            offsets.push((at, &rest[at..end]));
            at = end + 1;
        }
        let mut used = 0;
        for (start, segment) in &offsets {
            if segment.is_empty() {
                return None;
            }
            match self.segments.get(used)?.as_slice() {
                [Part::Parameter(parameter)] if parameter.catch_all => {
                    found.insert(parameter.name.clone(), rest[*start..].to_owned());
                    used = self.segments.len();
                    break;
                }
                [Part::Parameter(parameter)] => {
                    found.insert(parameter.name.clone(), (*segment).to_owned());
                }
                [Part::Literal(literal)] if same_text(literal, segment) => {}
                [Part::Literal(_)] => return None,
                parts => match_parts(parts, segment, &mut found)?,
            }
            used += 1;
        }
        for missing in self.segments.iter().skip(used) {
            match missing.as_slice() {
                [Part::Parameter(p)] if p.catch_all || p.optional || p.default.is_some() => {}
                _ => return None,
            }
        }
        self.settle(found)
    }

    /// Adds defaults, then asks the constraints.
    fn settle(&self, mut found: BTreeMap<String, String>) -> Option<RouteValues> {
        let mut values = RouteValues::new();
        for parameter in self.parameters() {
            let value = found.remove(&parameter.name).or_else(|| parameter.default.clone());
            let fits = match &value {
                Some(value) => parameter.constraints.iter().all(|constraint| constraint.accepts(value)),
                None => parameter.optional || parameter.constraints.iter().all(Constraint::accepts_nothing),
            };
            if !fits {
                return None;
            }
            values.insert(parameter.name.clone(), value);
        }
        Some(values)
    }
}

fn same_text(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || left.to_lowercase() == right.to_lowercase()
}

fn parameters(segments: &[Vec<Part>]) -> impl Iterator<Item = &Parameter> {
    segments.iter().flatten().filter_map(|part| match part {
        Part::Parameter(parameter) => Some(parameter),
        Part::Literal(_) => None,
    })
}

/// Matches a segment of several parts, from the right, each literal as far right as it goes.
fn match_parts(parts: &[Part], segment: &str, found: &mut BTreeMap<String, String>) -> Option<()> {
    let optional_end = match parts {
        [.., Part::Literal(separator), Part::Parameter(last)] if last.optional => Some(separator),
        _ => None,
    };
    let Some(separator) = optional_end else { return match_run(parts, segment, found) };
    if match_run(parts, segment, found).is_some() {
        return Some(());
    }
    if segment.ends_with(separator.as_str()) {
        return None;
    }
    match_run(&parts[..parts.len() - 2], segment, found)
}

fn match_run(parts: &[Part], segment: &str, found: &mut BTreeMap<String, String>) -> Option<()> {
    let mut values = Vec::new();
    let mut end = segment.len();
    let mut pending: Option<&Parameter> = None;
    for (index, part) in parts.iter().enumerate().rev() {
        match part {
            Part::Parameter(parameter) => pending = Some(parameter),
            Part::Literal(literal) => {
                // A parameter to the right needs at least one character.
                let limit = if pending.is_some() { previous_boundary(segment, end)? } else { end };
                let at = last_occurrence(segment, literal, limit)?;
                if index == parts.len() - 1 && at + literal.len() != segment.len() {
                    return None;
                }
                if let Some(parameter) = pending.take() {
                    let value = &segment[at + literal.len()..end];
                    if value.is_empty() {
                        return None;
                    }
                    values.push((parameter, value));
                }
                end = at;
            }
        }
    }
    if let Some(parameter) = pending {
        if end == 0 {
            return None;
        }
        values.push((parameter, &segment[..end]));
    } else if end != 0 {
        return None;
    }
    found.extend(values.into_iter().map(|(parameter, value)| (parameter.name.clone(), value.to_owned())));
    Some(())
}

fn previous_boundary(text: &str, end: usize) -> Option<usize> {
    text[..end].char_indices().next_back().map(|(at, _)| at)
}

/// The right-most occurrence of `literal` in `text` before `limit`, letter case aside.
fn last_occurrence(text: &str, literal: &str, limit: usize) -> Option<usize> {
    (0..=limit).rev().find(|at| {
        let end = at + literal.len();
        end <= limit && text.get(*at..end).is_some_and(|part| same_text(part, literal))
    })
}

/// Splits at slashes; a slash inside braces belongs to the parameter's text.
fn split_segments(text: &str) -> Result<Vec<String>, String> {
    let mut segments = vec![String::new()];
    let mut depth = 0_usize;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let doubled = matches!(character, '{' | '}') && characters.peek() == Some(&character);
        match character {
            '/' if depth == 0 => segments.push(String::new()),
            _ => {
                if let Some(last) = segments.last_mut() {
                    last.push(character);
                    if doubled {
                        last.push(character);
                        characters.next();
                    }
                }
                if !doubled && character == '{' {
                    depth += 1;
                } else if !doubled && character == '}' {
                    depth = depth.saturating_sub(1);
                }
            }
        }
    }
    if segments.iter().any(String::is_empty) {
        return Err("The route template separator character '/' cannot appear consecutively. \
                    It must be separated by either a parameter or a literal value."
            .to_owned());
    }
    Ok(segments)
}

const INCOMPLETE: &str = "There is an incomplete parameter in the route template. \
                          Check that each '{' character has a matching '}' character.";

fn parse_segment(segment: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut characters = segment.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '{' | '}' if characters.peek() == Some(&character) => {
                characters.next();
                literal.push(character);
            }
            '{' => {
                push_literal(&mut parts, &mut literal)?;
                let mut inside = String::new();
                loop {
                    match characters.next() {
                        None => return Err(INCOMPLETE.to_owned()),
                        Some('}') if characters.peek() == Some(&'}') => {
                            characters.next();
                            inside.push('}');
                        }
                        Some('}') => break,
                        Some('{') if characters.peek() == Some(&'{') => {
                            characters.next();
                            inside.push('{');
                        }
                        Some('{') => {
                            return Err(
                                "In a route parameter, '{' and '}' must be escaped with '{{' and '}}'."
                                    .to_owned(),
                            );
                        }
                        Some(other) => inside.push(other),
                    }
                }
                parts.push(Part::Parameter(parse_parameter(&inside)?));
            }
            '}' => return Err(INCOMPLETE.to_owned()),
            other => literal.push(other),
        }
    }
    push_literal(&mut parts, &mut literal)?;
    Ok(parts)
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) -> Result<(), String> {
    if literal.contains('?') {
        return Err(format!(
            "The literal section '{literal}' is invalid. Literal sections cannot contain the '?' character."
        ));
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
    Ok(())
}

fn parse_parameter(inside: &str) -> Result<Parameter, String> {
    let (catch_all, text) = match inside.strip_prefix("**").or_else(|| inside.strip_prefix('*')) {
        Some(rest) => (true, rest),
        None => (false, inside),
    };
    let (optional, text) = match text.strip_suffix('?') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let name_end = text.find([':', '=']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    let mut constraints = Vec::new();
    let mut default = None;
    while let Some(tail) = rest.strip_prefix(':') {
        let end = constraint_end(tail);
        let (entry, after) = tail.split_at(end);
        if !entry.is_empty() {
            let constraint = Constraint::parse(entry).map_err(|why| {
                format!("The constraint entry '{name}' - '{entry}' on the route is invalid. {why}")
            })?;
            constraints.push(constraint);
        }
        rest = after;
    }
    if let Some(value) = rest.strip_prefix('=') {
        default = Some(value.to_owned());
    }
    if name.is_empty() || name.contains(['{', '}', '/', '*', '?']) {
        return Err(format!(
            "The route parameter name '{name}' is invalid. Route parameter names must be non-empty \
             and cannot contain these characters: '{{', '}}', '/'. The '?' character marks a parameter as optional, \
             and can occur only at the end of the parameter. The '*' character marks a parameter as catch-all, \
             and can occur only at the start of the parameter."
        ));
    }
    if optional && default.is_some() {
        return Err("An optional parameter cannot have default value.".to_owned());
    }
    if catch_all && optional {
        return Err("A catch-all parameter cannot be marked optional.".to_owned());
    }
    Ok(Parameter { name: name.to_owned(), catch_all, optional, default, constraints })
}

/// A constraint ends at the next `:` or `=`; inside its brackets only a `)` that one of them, or the end, follows ends them.
fn constraint_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut inside = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' if !inside => inside = true,
            b')' if inside && matches!(bytes.get(at + 1), None | Some(b':' | b'=')) => inside = false,
            b':' | b'=' if !inside => return at,
            _ => {}
        }
    }
    text.len()
}

fn check(segments: &[Vec<Part>]) -> Result<(), String> {
    for (index, parts) in segments.iter().enumerate() {
        let mut last_was_parameter = false;
        for (position, part) in parts.iter().enumerate() {
            let Part::Parameter(parameter) = part else {
                last_was_parameter = false;
                continue;
            };
            if parameter.catch_all && parts.len() > 1 {
                return Err("A path segment that contains more than one section, such as a literal section or a parameter, \
                            cannot contain a catch-all parameter."
                    .to_owned());
            }
            if parameter.catch_all && index != segments.len() - 1 {
                return Err(
                    "A catch-all parameter can only appear as the last segment of the route template."
                        .to_owned(),
                );
            }
            if parameter.optional && parts.len() > 1 {
                let after_dot =
                    position > 0 && matches!(&parts[position - 1], Part::Literal(text) if text == ".");
                if position != parts.len() - 1 || !after_dot {
                    return Err(format!(
                        "An optional parameter must be at the end of the segment and follow a period: '{}'.",
                        parameter.name
                    ));
                }
            }
            if last_was_parameter {
                return Err("A path segment cannot contain two consecutive parameters. \
                            They must be separated by a '/' or by a literal string."
                    .to_owned());
            }
            last_was_parameter = true;
        }
    }
    let mut names: Vec<String> = Vec::new();
    for parameter in parameters(segments) {
        let key = parameter.name.to_lowercase();
        if names.contains(&key) {
            return Err(format!(
                "The route parameter name '{}' appears more than one time in the route template.",
                parameter.name
            ));
        }
        names.push(key);
    }
    Ok(())
}
