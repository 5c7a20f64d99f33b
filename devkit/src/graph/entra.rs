//! Tokens: Entra's client-credential endpoint, App Service's managed-identity endpoint, the discovery
//! documents, and the check of the bearer that every call to Graph makes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    answer::{Answer, GraphError},
    planner::Actor,
    random::SimRng,
};

/// The application that the simulator knows.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The tenant's id.
    pub tenant_id: String,
    /// The application's client id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What `X-IDENTITY-HEADER` has to be.
    pub identity_header: String,
}

/// A refusal that the next requests for a token meet.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// The number of the AADSTS error.
    pub code: u32,
    /// How many requests meet it.
    pub count: u64,
}

/// Who calls, and what they may do.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub actor: Actor,
    /// The roles (of an application) or scopes (of a person) in the token; `None` for calls from inside, which may
    /// do everything.
    pub permissions: Option<Arc<[String]>>,
}

impl Caller {
    /// One who may do everything.
    pub fn trusted(actor: Actor) -> Self {
        Self { actor, permissions: None }
    }
}

/// What the application's tokens allow when nothing else is set.
pub const APP_ROLES: [&str; 3] = ["Tasks.ReadWrite.All", "Group.Read.All", "User.Read.All"];
/// What a person's tokens allow when nothing else is asked for.
pub const PERSON_SCOPES: [&str; 4] = ["Tasks.ReadWrite", "Group.Read.All", "User.Read", "User.ReadBasic.All"];

#[derive(Debug, Clone)]
struct Grant {
    caller: Caller,
    expires_ms: i64,
}

/// The tokens that are out, and how new ones are made.
#[derive(Debug)]
pub struct Entra {
    /// The application.
    pub registration: Registration,
    /// How long a token lives, in seconds.
    pub lifetime_s: u64,
    /// What the next requests meet.
    pub refusal: Option<Refusal>,
    /// The roles in the application's new tokens.
    pub roles: Vec<String>,
    grants: HashMap<String, Grant>,
}

/// The form of a request for a token, decoded.
pub type Form = BTreeMap<String, String>;

impl Entra {
    /// The registration's tokens, living an hour as Entra's do (`expires_in` 3599).
    pub fn new(registration: Registration) -> Self {
        let roles = APP_ROLES.map(str::to_owned).to_vec();
        Self { registration, lifetime_s: 3599, refusal: None, roles, grants: HashMap::new() }
    }

    /// A token for an actor. It looks like Entra's, and means nothing to anyone else.
    pub fn issue(&mut self, actor: Actor, now_ms: i64, rng: &mut SimRng) -> String {
        let permissions = match &actor {
            Actor::App(_) => self.roles.clone(),
            Actor::Person(_) => PERSON_SCOPES.map(str::to_owned).to_vec(),
        };
        self.issue_for(actor, permissions, now_ms, rng)
    }

    /// A token for an actor with these roles or scopes.
    pub fn issue_for(
        &mut self,
        actor: Actor,
        permissions: Vec<String>,
        now_ms: i64,
        rng: &mut SimRng,
    ) -> String {
        self.grants.retain(|_, grant| grant.expires_ms > now_ms - 3_600_000);
        let now = now_ms / 1000;
        let expires = now + i64::try_from(self.lifetime_s).unwrap_or(i64::MAX / 2);
        let mut claims = json!({
            "aud": "https://graph.microsoft.com",
            "iss": format!("https://sts.windows.net/{}/", self.registration.tenant_id),
            "iat": now, "nbf": now, "exp": expires,
            "tid": self.registration.tenant_id,
            "uti": rng.guid(),
        });
        match &actor {
            Actor::App(client) => {
                claims["appid"] = json!(client);
                claims["idtyp"] = json!("app");
                claims["roles"] = json!(permissions);
            }
            Actor::Person(user) => {
                claims["oid"] = json!(user);
                claims["scp"] = json!(permissions.join(" "));
            }
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let seal = URL_SAFE_NO_PAD.encode(rng.next_u64().to_be_bytes());
        let token = format!(
            "{}.{}.{seal}",
            part(&json!({"typ": "JWT", "alg": "RS256", "kid": "simulator"})),
            part(&claims)
        );
        let caller = Caller { actor, permissions: Some(permissions.into()) };
        self.grants.insert(token.clone(), Grant { caller, expires_ms: expires.saturating_mul(1000) });
        token
    }

    /// Ends every token that is out.
    pub fn expire_all(&mut self, now_ms: i64) {
        for grant in self.grants.values_mut() {
            grant.expires_ms = now_ms;
        }
    }

    /// Who calls, by the `Authorization` header; 401 with Graph's texts.
    pub fn check(&self, authorization: Option<&str>, now_ms: i64) -> Result<Caller, GraphError> {
        let token = authorization
            .and_then(|value| {
                value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map(|_| &value[7..])
            })
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| GraphError::token("Access token is empty."))?;
        match self.grants.get(token) {
            Some(grant) if grant.expires_ms > now_ms => Ok(grant.caller.clone()),
            Some(_) => Err(GraphError::token("Lifetime validation failed, the token is expired.")),
            None => Err(GraphError::token("CompactToken parsing failed with error code: 80049217")),
        }
    }

    /// The refusal that is scripted for the next request, if any.
    fn scripted(&mut self, now: &Moment) -> Option<Answer> {
        let refusal = self.refusal.as_mut()?;
        let code = refusal.code;
        refusal.count = refusal.count.saturating_sub(1);
        if refusal.count == 0 {
            self.refusal = None;
        }
        Some(aadsts(code, "scripted by the simulator", now))
    }

    /// `POST /{tenant}/oauth2/v2.0/token` with client credentials.
    pub fn client_credentials(
        &mut self,
        tenant: &str,
        form: &Form,
        now: &Moment,
        rng: &mut SimRng,
    ) -> Answer {
        if let Some(answer) = self.scripted(now) {
            return answer;
        }
        let value = |name: &str| form.get(name).map(String::as_str).filter(|value| !value.is_empty());
        if tenant != self.registration.tenant_id {
            return aadsts(90002, "Tenant was not found. Check the tenant id.", now);
        }
        match value("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return aadsts(70003, "The app requested an unsupported grant type.", now),
            None => {
                return aadsts(
                    900_144,
                    "The request body must contain the following parameter: 'grant_type'.",
                    now,
                );
            }
        }
        if value("client_id") != Some(self.registration.client_id.as_str()) {
            return aadsts(700_016, "Application was not found in the directory.", now);
        }
        match (value("client_secret"), value("client_assertion")) {
            (Some(secret), _) if secret == self.registration.client_secret => {}
            (Some(_), _) => return aadsts(7_000_215, "Invalid client secret provided.", now),
            (None, Some(_)) => {
                return aadsts(700_027, "The certificate of the client assertion is not registered.", now);
            }
            (None, None) => {
                let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
                return aadsts(7_000_218, text, now);
            }
        }
        match value("scope") {
            Some(scope) if scope.ends_with("/.default") => {}
            Some(_) => {
                return aadsts(
                    1_002_012,
                    "The provided value for scope is not valid. It must end in /.default.",
                    now,
                );
            }
            None => {
                return aadsts(
                    900_144,
                    "The request body must contain the following parameter: 'scope'.",
                    now,
                );
            }
        }
        let token = self.issue(Actor::App(self.registration.client_id.clone()), now.ms, rng);
        Answer::json(
            200,
            json!({
                "token_type": "Bearer",
                "expires_in": self.lifetime_s,
                "ext_expires_in": self.lifetime_s,
                "access_token": token,
            }),
        )
    }

    /// App Service's managed-identity endpoint, API version 2019-08-01. Its numbers are strings.
    pub fn managed_identity(
        &mut self,
        query: &Form,
        header: Option<&str>,
        now: &Moment,
        rng: &mut SimRng,
    ) -> Answer {
        let refuse = |status: u16, message: &str| {
            Answer::json(status, json!({"statusCode": status, "message": message}))
        };
        if header != Some(self.registration.identity_header.as_str()) {
            return refuse(401, "The X-IDENTITY-HEADER header is missing or wrong.");
        }
        if query.get("api-version").map(String::as_str) != Some("2019-08-01") {
            return refuse(400, "The api-version has to be 2019-08-01.");
        }
        let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
            return refuse(400, "The parameter resource is missing.");
        };
        if query.get("client_id").is_some_and(|id| *id != self.registration.client_id) {
            return refuse(400, "No user-assigned identity has this client_id.");
        }
        if let Some(answer) = self.scripted(now) {
            return answer;
        }
        let token = self.issue(Actor::App(self.registration.client_id.clone()), now.ms, rng);
        let expires = now.ms / 1000 + i64::try_from(self.lifetime_s).unwrap_or(i64::MAX / 2);
        Answer::json(
            200,
            json!({
                "access_token": token,
                "expires_on": expires.to_string(),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": self.registration.client_id,
            }),
        )
    }
}

/// The time of a request for a token, and ids for its error.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Milliseconds since the epoch.
    pub ms: i64,
    /// `2026-01-31 12:00:00Z`
    pub text: String,
    /// The request's id.
    pub trace: String,
}

/// An error of Entra. `error` and the status follow from the number (reference: "Microsoft Entra
/// authentication and authorization error codes").
pub fn aadsts(code: u32, text: &str, now: &Moment) -> Answer {
    let (status, error) = match code {
        7_000_215 | 7_000_222 | 7_000_218 | 700_027 => (401, "invalid_client"),
        700_016 => (400, "unauthorized_client"),
        70_011 | 1_002_012 => (400, "invalid_scope"),
        70_003 => (400, "unsupported_grant_type"),
        90_002 | 900_023 | 900_144 => (400, "invalid_request"),
        50_076 | 50_079 | 53_003 | 65_001 => (400, "interaction_required"),
        90_033 | 90_024 | 50_087 => (503, "temporarily_unavailable"),
        _ => (400, "invalid_grant"),
    };
    Answer::json(
        status,
        json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {trace} Timestamp: {time}",
                trace = now.trace, time = now.text
            ),
            "error_codes": [code],
            "timestamp": now.text,
            "trace_id": now.trace,
            "correlation_id": now.trace,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        }),
    )
}

/// `/{tenant}/v2.0/.well-known/openid-configuration`.
pub fn openid_configuration(base: &str, tenant: &str) -> Answer {
    Answer::json(
        200,
        json!({
            "issuer": format!("{base}/{tenant}/v2.0"),
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
            "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid"],
        }),
    )
}

/// `/common/discovery/instance`.
pub fn instance_discovery(base: &str, host: &str, tenant: &str) -> Answer {
    Answer::json(
        200,
        json!({
            "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }),
    )
}
