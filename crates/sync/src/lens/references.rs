//! Links in documents: a list of objects or plain texts, or Planner's map of encoded links.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::field::Reference;
use super::raw::{self, Members};

/// Links by their text.
pub(crate) type Links = BTreeMap<String, Reference>;

/// The members of an element that may hold the link itself.
const ADDRESSES: [&str; 3] = ["url", "href", "link"];
/// What Planner calls a link of no other kind.
pub(crate) const OTHER: &str = "Other";

/// Planner's key for a link: the characters that an open type's member name may not hold are percent-encoded
/// (Graph, plannerExternalReferences).
pub(crate) fn encoded(url: &str) -> String {
    let mut key = String::with_capacity(url.len() + 16);
    for character in url.chars() {
        match character {
            '%' => key.push_str("%25"),
            '.' => key.push_str("%2E"),
            ':' => key.push_str("%3A"),
            '@' => key.push_str("%40"),
            '#' => key.push_str("%23"),
            other => key.push(other),
        }
    }
    key
}

/// The link that a key of Planner's stands for; a key whose encoding cannot be read stands for itself.
pub(crate) fn decoded(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut url = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = (*byte == b'%').then(|| key.get(at + 1..at + 3)).flatten();
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                url.push(decoded);
                at += 3;
            }
            None => {
                url.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(url).unwrap_or_else(|_| key.to_owned())
}

/// Whether the text begins as a link does: a scheme and a colon, and nothing that no link holds.
pub(crate) fn is_link(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && text.len() > scheme.len() + 1
        && !text.chars().any(char::is_control)
        && text.trim() == text
}

/// One element: its link and what it says, or neither.
struct Element {
    /// The name, where the member is a map.
    key: Option<String>,
    raw: Box<RawValue>,
    url: Option<String>,
    says: Reference,
}

fn text_of(members: &Members, name: &str) -> Option<String> {
    match members.get(name)?.get() {
        "null" => Some(String::new()),
        raw => serde_json::from_str(raw).ok(),
    }
}

fn said(members: &Members) -> Reference {
    let kind = text_of(members, "type").filter(|kind| !kind.is_empty());
    Reference { alias: text_of(members, "alias"), kind, key: None }
}

/// The elements of a member; `None` if it is neither a list nor a map.
fn elements(raw: &RawValue) -> Option<Vec<Element>> {
    if raw.get() == "null" {
        return Some(Vec::new());
    }
    if let Some(map) = Members::parse(raw.get()) {
        let element = |member: &raw::Member| {
            let name = &*member.name;
            let url = if is_link(name) { name.to_owned() } else { decoded(name) };
            let members = Members::parse(member.value.get());
            let set = members.is_some() || member.value.get() == "true";
            let says = members.as_ref().map(said).unwrap_or_default();
            let url = Some(url).filter(|url| set && is_link(url));
            Element { key: Some(name.to_owned()), raw: member.value.clone(), url, says }
        };
        return Some(map.0.iter().map(element).collect());
    }
    let list = serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()).ok()?;
    let element = |raw: Box<RawValue>| {
        let members = Members::parse(raw.get());
        let url = match &members {
            Some(members) => ADDRESSES.iter().find_map(|name| text_of(members, name)),
            None => serde_json::from_str::<String>(raw.get()).ok(),
        };
        let says = members.as_ref().map(said).unwrap_or_default();
        Element { key: None, raw, url: url.filter(|url| is_link(url)), says }
    };
    Some(list.into_iter().map(element).collect())
}

/// Reads the links. What an element does not say is as `base`, the last agreed links, has it. Elements that are no
/// links go to `unknown`, as does a member that holds none.
pub(crate) fn read(raw: &RawValue, base: Option<&Links>, unknown: &mut Vec<String>) -> Option<Links> {
    let Some(elements) = elements(raw) else {
        unknown.push(raw.get().to_owned());
        return None;
    };
    let mut links = Links::new();
    for element in elements {
        let Some(url) = element.url else {
            if !matches!(element.raw.get(), "null" | "\"\"" | "false") {
                unknown.push(element.key.unwrap_or_else(|| element.raw.get().to_owned()));
            }
            continue;
        };
        let agreed = base.and_then(|base| base.get(&url));
        links.entry(url).or_insert_with(|| Reference {
            alias: element.says.alias.or_else(|| agreed.and_then(|link| link.alias.clone())),
            kind: element.says.kind.or_else(|| agreed.and_then(|link| link.kind.clone())),
            key: agreed.and_then(|link| link.key.clone()),
        });
    }
    Some(links)
}

/// Writes the links over a member: elements keep their order, their spelling and their other members; new ones
/// follow. `None` if nothing has to change.
pub(crate) fn write(raw: Option<&RawValue>, target: &Links) -> Option<Box<RawValue>> {
    let (is_map, before) = match raw {
        Some(raw) => (raw.get().starts_with('{'), elements(raw)?),
        None if target.is_empty() => return None,
        None => (false, Vec::new()),
    };
    let encodes = before.iter().any(|element| element.key.as_deref().is_some_and(|key| !is_link(key)));
    let mut missing: Links = target.clone();
    let mut changed = false;
    let mut after: Vec<(Option<String>, Box<RawValue>)> = Vec::new();
    for element in before {
        let Some(url) = &element.url else {
            // In a map a removed link may stand as null; one that is there again takes its place.
            let url =
                element.key.as_deref().map(|key| if is_link(key) { key.to_owned() } else { decoded(key) });
            let back = url.filter(|_| matches!(element.raw.get(), "null" | "false"));
            match back.and_then(|url| missing.remove(&url)) {
                Some(link) => {
                    changed = true;
                    after.push((element.key, described(Members::default(), &link)));
                }
                None => after.push((element.key, element.raw)),
            }
            continue;
        };
        let Some(link) = target.get(url) else {
            changed = true;
            continue;
        };
        missing.remove(url);
        if says_less(&element.says, link) {
            changed = true;
            let members = Members::parse(element.raw.get()).unwrap_or_else(|| addressed(url, is_map));
            after.push((element.key, described(members, link)));
        } else {
            after.push((element.key, element.raw));
        }
    }
    for (url, link) in missing {
        changed = true;
        let members = described(addressed(&url, is_map), &link);
        let key = link.key.unwrap_or_else(|| if encodes { encoded(&url) } else { url });
        after.push((is_map.then_some(key), members));
    }
    if !changed {
        return None;
    }
    if is_map {
        let mut map = Members::default();
        for (key, value) in after {
            map.set(&key.unwrap_or_default(), value);
        }
        return Some(raw::raw(map.write()));
    }
    let parts: Vec<&str> = after.iter().map(|(_, raw)| raw.get()).collect();
    Some(raw::raw(format!("[{}]", parts.join(","))))
}

/// Whether an element lacks or contradicts something of the link. A type of `Other` and an empty alias need no word.
fn says_less(says: &Reference, link: &Reference) -> bool {
    let differs = |says: &Option<String>, target: &Option<String>, silent: &str| match (says, target) {
        (_, None) => false,
        (Some(says), Some(target)) => says != target,
        (None, Some(target)) => target != silent,
    };
    differs(&says.alias, &link.alias, "") || differs(&says.kind, &link.kind, OTHER)
}

fn addressed(url: &str, is_map: bool) -> Members {
    let mut members = Members::default();
    if !is_map {
        members.set(ADDRESSES[0], raw::raw_of(&url.into()));
    }
    members
}

fn described(mut members: Members, link: &Reference) -> Box<RawValue> {
    for (name, value, silent) in [("alias", &link.alias, ""), ("type", &link.kind, OTHER)] {
        if let Some(value) = value
            && (members.get(name).is_some() || value != silent)
            && text_of(&members, name).as_ref() != Some(value)
        {
            members.set(name, raw::raw_of(&value.as_str().into()));
        }
    }
    raw::raw(members.write())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_documented_ones() {
        for (url, key) in [
            (
                "https://contoso.sharepoint.com/teams/x/Report.pptx",
                "https%3A//contoso%2Esharepoint%2Ecom/teams/x/Report%2Epptx",
            ),
            (
                "https://a.b/Shared Documents/Demande%20de.pdf?web=1#p@q",
                "https%3A//a%2Eb/Shared Documents/Demande%2520de%2Epdf?web=1%23p%40q",
            ),
        ] {
            assert_eq!(encoded(url), key);
            assert_eq!(decoded(key), url);
        }
    }

    #[test]
    fn a_key_that_is_not_encoded_as_we_would_still_is_a_link() {
        assert_eq!(decoded("https%3a//x%2ey/%C3%A9%"), "https://x.y/é%");
        assert_eq!(decoded("%ff"), "%ff");
    }
}
