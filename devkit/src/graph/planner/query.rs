//! What Planner makes of query options. Only the filters by owner and by plan are documented; for the rest a switch
//! says whether an option is heeded, ignored or refused.

use serde_json::{Map, Value};

use super::{Call, Context};
use crate::graph::{
    answer::GraphError,
    switches::{Filter, Select, Top},
};

/// The options that hold for an answer.
#[derive(Debug)]
pub(super) struct Options {
    /// The members that are asked for; `None` for all.
    pub select: Option<Vec<String>>,
    /// The entries of a page.
    pub size: usize,
}

impl Options {
    /// Takes away the members that were not asked for. `id` and annotations stay.
    pub fn reduce(&self, members: &mut Map<String, Value>) {
        if let Some(select) = &self.select {
            members.retain(|name, _| name == "id" || name.contains('@') || select.contains(name));
        }
    }
}

fn refused(name: &str) -> GraphError {
    GraphError::bad_request(format!("The query option '{name}' is not supported."))
}

/// Reads the options of a call; `documented` are those that its page describes.
pub(super) fn options(
    context: &Context<'_>,
    call: &Call,
    documented: &[&str],
) -> Result<Options, GraphError> {
    let switches = &context.rules.switches;
    let mut options = Options { select: None, size: context.rules.page_size.max(1) };
    for (name, value) in &call.query {
        match name.as_str() {
            name if documented.contains(&name) => {}
            "$select" => match switches.select {
                Select::Honoured => {
                    options.select = Some(value.split(',').map(|name| name.trim().to_owned()).collect());
                }
                Select::Ignored => {}
                Select::Refused => return Err(refused(name)),
            },
            "$top" => match switches.top {
                Top::Honoured => {
                    let top: usize =
                        value.parse().ok().filter(|top| *top > 0).ok_or_else(|| refused(name))?;
                    options.size = options.size.min(top);
                }
                Top::Ignored => {}
                Top::Refused => return Err(refused(name)),
            },
            "$filter" if switches.filter == Filter::Refused => return Err(refused(name)),
            _ => {}
        }
    }
    Ok(options)
}

/// The value of a `$filter` of the form `name eq 'value'`.
pub(super) fn equals(call: &Call, name: &str) -> Option<String> {
    let mut words = call.query.get("$filter")?.splitn(3, ' ');
    if words.next()? != name || words.next()? != "eq" {
        return None;
    }
    words.next()?.strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned)
}
