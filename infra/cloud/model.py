"""Nouns of the cloud program: a resource as a frozen value, and a reference to what another one will be told by the platform.

A plan is a tuple of these. It holds nothing of Pulumi, so that policies and tests read it in milliseconds and without it. What
can be known beforehand (names, e-mails, addresses of services) is written out; ``Ref`` stands only for what cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

SERVICE: Final = "gcp:cloudrunv2/service:Service"
SERVICE_MEMBER: Final = "gcp:cloudrunv2/serviceIamMember:ServiceIamMember"
JOB: Final = "gcp:cloudrunv2/job:Job"
JOB_MEMBER: Final = "gcp:cloudrunv2/jobIamMember:JobIamMember"
ACCOUNT: Final = "gcp:serviceaccount/account:Account"
ACCOUNT_MEMBER: Final = "gcp:serviceaccount/iAMMember:IAMMember"
PROJECT_MEMBER: Final = "gcp:projects/iAMMember:IAMMember"
API: Final = "gcp:projects/service:Service"
AGENT: Final = "gcp:projects/serviceIdentity:ServiceIdentity"
AUDIT: Final = "gcp:projects/iAMAuditConfig:IAMAuditConfig"
TOPIC: Final = "gcp:pubsub/topic:Topic"
TOPIC_MEMBER: Final = "gcp:pubsub/topicIAMMember:TopicIAMMember"
SUBSCRIPTION: Final = "gcp:pubsub/subscription:Subscription"
SUBSCRIPTION_MEMBER: Final = "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember"
SCHEDULE: Final = "gcp:cloudscheduler/job:Job"
SECRET: Final = "gcp:secretmanager/secret:Secret"  # noqa: S105 - a kind of resource
SECRET_MEMBER: Final = "gcp:secretmanager/secretIamMember:SecretIamMember"  # noqa: S105 - a kind of resource
REGISTRY: Final = "gcp:artifactregistry/repository:Repository"
REGISTRY_MEMBER: Final = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"
SQL: Final = "gcp:sql/databaseInstance:DatabaseInstance"
SQL_DATABASE: Final = "gcp:sql/database:Database"
SQL_USER: Final = "gcp:sql/user:User"
NETWORK: Final = "gcp:compute/network:Network"
SUBNET: Final = "gcp:compute/subnetwork:Subnetwork"
RANGE: Final = "gcp:compute/globalAddress:GlobalAddress"
ADDRESS: Final = "gcp:compute/address:Address"
ROUTER: Final = "gcp:compute/router:Router"
NAT: Final = "gcp:compute/routerNat:RouterNat"
FIREWALL: Final = "gcp:compute/firewall:Firewall"
PEERING: Final = "gcp:servicenetworking/connection:Connection"
ENDPOINTS: Final = "gcp:compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup"
ADDRESS_RULES: Final = "gcp:compute/securityPolicy:SecurityPolicy"
BACKEND: Final = "gcp:compute/backendService:BackendService"
URL_MAP: Final = "gcp:compute/uRLMap:URLMap"
CERTIFICATE: Final = "gcp:compute/managedSslCertificate:ManagedSslCertificate"
TLS_POLICY: Final = "gcp:compute/sSLPolicy:SSLPolicy"
PROXY: Final = "gcp:compute/targetHttpsProxy:TargetHttpsProxy"
FORWARDING: Final = "gcp:compute/globalForwardingRule:GlobalForwardingRule"
MACHINE: Final = "gcp:compute/instance:Instance"
MACHINE_MEMBER: Final = "gcp:compute/instanceIAMMember:InstanceIAMMember"
TUNNEL_MEMBER: Final = "gcp:iap/tunnelInstanceIAMMember:TunnelInstanceIAMMember"
LOG_METRIC: Final = "gcp:logging/metric:Metric"
CHANNEL: Final = "gcp:monitoring/notificationChannel:NotificationChannel"
ALERT: Final = "gcp:monitoring/alertPolicy:AlertPolicy"
DASHBOARD: Final = "gcp:monitoring/dashboard:Dashboard"
TRIGGER: Final = "gcp:cloudbuild/trigger:Trigger"
BUDGET: Final = "gcp:billing/budget:Budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """An attribute of another resource of the plan that the platform makes up, such as an address it hands out."""

    name: str
    attribute: str

    @property
    def text(self) -> str:
        """How the reference reads where nothing was made."""
        return f"${{{self.name}.{self.attribute}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing to make: a type token of the provider, a name that is unique in the plan, and its properties in snake case.

    ``depends`` names resources that must exist first although no property says so; ``ignores`` are property paths that somebody
    else changes (the deployed image belongs to the build); ``is_kept``: the program refuses to delete it.
    """

    type: str
    name: str
    properties: Mapping[str, Any]
    depends: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    is_kept: bool = False

    @property
    def kind(self) -> str:
        """The last part of the type token, for people."""
        return self.type.rpartition(":")[2]

    @property
    def place(self) -> str:
        """Module and kind of the provider, which together are unique: ``pubsub.Topic``."""
        return f"{self.type.removeprefix('gcp:').partition('/')[0]}.{self.kind}"

    def get(self, path: str, default: Any = None) -> Any:
        """A property by a dotted path (``template.scaling.max_instance_count``, digits index lists); ``default`` where absent."""
        found: Any = self.properties
        for part in path.split("."):
            if isinstance(found, Mapping) and part in found:
                found = found[part]
            elif isinstance(found, list | tuple) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                return default
        return found


Plan = tuple[Resource, ...]


def references(value: Any) -> Iterator[Ref]:
    """Every reference inside a property's value."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def written(value: Any) -> Any:
    """A property's value with each reference as its text."""
    if isinstance(value, Ref):
        return value.text
    if isinstance(value, Mapping):
        return {name: written(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [written(item) for item in value]
    return value


def read(plan: Plan) -> Plan:
    """The plan as policies read it: no reference is left in its properties."""
    return tuple(replace(one, properties=written(one.properties)) for one in plan)
