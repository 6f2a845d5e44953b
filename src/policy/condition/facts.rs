//! Facts: what a condition sees of a question, as CEL values.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, ExecutionError, Value, extractors::This};
use chrono::DateTime;

use super::{Patterns, Question, call};

/// CEL's own functions. Its `matches` is not among them: ours uses expressions compiled before.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// A context with CEL's own functions and no variables.
pub fn bare_context() -> Context<'static, 'static> {
    Context::with_env(Arc::clone(&ENVIRONMENT))
}

/// The agent, the request and the time of one question.
pub struct Facts(Context<'static, 'static>);

impl Facts {
    /// What conditions see of `question`. `patterns` are the regular expressions that they use.
    pub fn new(question: &Question<'_>, patterns: &Arc<Patterns>) -> Self {
        let mut context = bare_context();
        context.add_variable_from_value("agent", agent(question));
        context.add_variable_from_value("request", request(question));
        context.add_variable_from_value("now", time(question.now_ms));
        let patterns = Arc::clone(patterns);
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            patterns
                .get(pattern.as_str())
                .map(|known| known.is_match(&text))
                .ok_or_else(|| ExecutionError::function_error(call::MATCHES, "unknown pattern"))
        };
        // A name that the environment declares would be refused: there is none, see above.
        let added = context.add_function(call::MATCHES, matches);
        debug_assert!(added.is_ok(), "the environment declares no matches");
        Self(context)
    }

    pub(super) fn context(&self) -> &Context<'static, 'static> {
        &self.0
    }
}

fn text(value: Option<&str>) -> Value {
    Value::from(value.unwrap_or_default())
}

fn time(ms: u64) -> Value {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Value::Timestamp(DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::UNIX_EPOCH).into())
}

fn agent(question: &Question<'_>) -> Value {
    let agent = question.agent;
    let metadata: HashMap<String, String> =
        agent.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Value::from(HashMap::from([
        ("id", Value::from(agent.id.to_string())),
        ("name", text(Some(&agent.name))),
        ("owner", text(Some(&agent.owner))),
        ("description", text(agent.description.as_deref())),
        ("model_provider", text(agent.model_provider.as_deref())),
        ("model_name", text(agent.model_name.as_deref())),
        ("framework", text(agent.framework.as_deref())),
        ("metadata", Value::from(metadata)),
    ]))
}

fn request(question: &Question<'_>) -> Value {
    Value::from(HashMap::from([
        ("scope", Value::from(question.scope.to_vec())),
        ("ttl", Value::Int(i64::try_from(question.ttl_s).unwrap_or(i64::MAX))),
        ("target_service", text(Some(question.target_service))),
        ("intent", text(question.intent)),
        ("signed", Value::Bool(question.signed)),
    ]))
}
