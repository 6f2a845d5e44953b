//! The side of a node that faces its peers: who it proves to be, where it listens, and the server
//! behind. Must not know what is asked or answered.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::Machine;
use crate::answer::Answers;
use crate::config::Config;
use crate::error::StartError;
use crate::handle::Core;
use crate::peer::link::{Links, Way};
use crate::peer::server::{self, Listening, Server};
use crate::peer::tls::Credentials;
use crate::runtime::JoinHandle;
use crate::store::identity;
use crate::types::Incarnation;

/// Where peers are heard.
enum Ear {
    Tls(Listening, Credentials),
    #[cfg(test)]
    Simulated,
}

/// What faces the peers of a node, before it runs.
pub(crate) struct Front {
    way: Way,
    ear: Ear,
    /// What peers are told to reach it at.
    address: String,
}

impl Front {
    /// What `config` says of peers, checked, and the address taken; `None` for a node without.
    pub(crate) async fn new(config: &mut Config) -> Result<Option<Front>, StartError> {
        let Some(peers) = &config.peers else { return Ok(None) };
        #[cfg(test)]
        if crate::sim::runs() {
            let (way, address) = (Way::Simulated(config.node_id), peers.advertise.clone());
            return Ok(Some(Front { way, ear: Ear::Simulated, address }));
        }
        let credentials = Credentials::of_node(peers, config.node_id)?;
        let dir = || config.data_dir.clone();
        if let Some(expected) = config.cluster_id.filter(|id| *id != credentials.cluster) {
            return Err(StartError::ForeignCluster {
                path: dir(),
                found: identity::hex(&expected),
                expected: identity::hex(&credentials.cluster),
            });
        }
        let listening = server::listen(peers.listen).await?;
        let own = listening.address.to_string();
        let address = if peers.advertise.is_empty() { own } else { peers.advertise.clone() };
        config.cluster_id = Some(credentials.cluster);
        let way = Way::Tls(credentials.clone());
        Ok(Some(Front { way, ear: Ear::Tls(listening, credentials), address }))
    }

    /// Ways to the peers, for the directory `own`.
    pub(crate) fn links(&self, own: Incarnation) -> Links {
        Links::new(self.way.clone(), own)
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// The address on which it listens.
    pub(crate) fn listens_at(&self) -> Option<SocketAddr> {
        match &self.ear {
            Ear::Tls(listening, _) => Some(listening.address),
            #[cfg(test)]
            Ear::Simulated => None,
        }
    }

    /// Answers peers from here on.
    pub(crate) fn serve<M: Machine>(self, core: &Arc<Core<M>>, config: &Config) -> JoinHandle<()> {
        let server = Server {
            own: core.identity.incarnation,
            roster: core.roster.clone(),
            electorate: core.electorate.clone(),
            service: Answers(core.clone()),
            incoming: config.data_dir.join("snapshots").join("incoming"),
            stopping: core.stopping.subscribe(),
        };
        match self.ear {
            Ear::Tls(listening, credentials) => server::serve(listening, credentials, server),
            #[cfg(test)]
            Ear::Simulated => crate::sim::network::serve(core.identity.node, server),
        }
    }
}
