//! What this plugin puts into a kubeconfig.

use serde_json::Value;

/// The cluster extension that the client hands to the plugin (`provideClusterInfo`, KEP-541).
pub const EXTENSION: &str = "client.authentication.k8s.io/exec";

/// Entries for one kubeconfig file. Where a kubeconfig is spread over files, each file has its part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// The cluster's entry.
    pub cluster: Option<Cluster>,
    /// The user's entry.
    pub user: Option<User>,
    /// The contexts' entries.
    pub contexts: Vec<Context>,
    /// Whether the contexts get other names when the cluster gets another.
    pub contexts_follow_cluster: bool,
    /// The context that becomes the current one where there is none.
    pub current_context: Option<String>,
}

/// An entry of `clusters`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The API server's URL.
    pub server: String,
    /// The API server's CA, base64 of PEM.
    pub ca: Option<String>,
    /// Whether the CA may take the place of another in an entry that was not made for this exchange: not when the CA is
    /// another machine's word.
    pub is_users_word: bool,
    /// The content of the extension [`EXTENSION`].
    pub exchange: Value,
}

/// An entry of `users`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its `exec` section.
    pub exec: Value,
}

/// An entry of `contexts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// The user's name.
    pub user: String,
    /// The core Namespace.
    pub namespace: Option<String>,
}

/// One of the three lists of a kubeconfig that hold entries with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `clusters`
    Clusters,
    /// `users`
    Users,
    /// `contexts`
    Contexts,
}

impl Section {
    /// The list's name in the kubeconfig.
    #[must_use]
    pub const fn list(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Users => "users",
            Self::Contexts => "contexts",
        }
    }

    /// The name of the field that holds an entry's content.
    #[must_use]
    pub const fn content(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Users => "user",
            Self::Contexts => "context",
        }
    }

    /// The entry of this name in a kubeconfig. Of two with the same name the first counts, as for kubectl.
    #[must_use]
    pub fn entry<'a>(self, config: &'a Value, name: &str) -> Option<&'a Value> {
        let entries = config.get(self.list())?.as_array()?;
        entries.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
    }
}

impl Entries {
    /// Where each entry stands and what it is called, in the order of the file.
    #[must_use]
    pub fn names(&self) -> Vec<(Section, &str)> {
        let cluster = self.cluster.iter().map(|cluster| (Section::Clusters, cluster.name.as_str()));
        let user = self.user.iter().map(|user| (Section::Users, user.name.as_str()));
        let contexts = self.contexts.iter().map(|context| (Section::Contexts, context.name.as_str()));
        cluster.chain(user).chain(contexts).collect()
    }

    /// The part of these entries that `wanted` selects by section and name; without a current context.
    #[must_use]
    pub fn part(&self, wanted: impl Fn(Section, &str) -> bool) -> Self {
        Self {
            cluster: self.cluster.clone().filter(|cluster| wanted(Section::Clusters, &cluster.name)),
            user: self.user.clone().filter(|user| wanted(Section::Users, &user.name)),
            contexts: {
                let contexts = self.contexts.iter().cloned();
                contexts.filter(|context| wanted(Section::Contexts, &context.name)).collect()
            },
            contexts_follow_cluster: self.contexts_follow_cluster,
            current_context: None,
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names().is_empty() && self.current_context.is_none()
    }
}
