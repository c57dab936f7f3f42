"""Where the processes of a KVCluster find their files."""

FOLDER = "/etc/muster"
DATA = "/var/lib/muster"
BACKUPS = "/backup"

STORAGE_FILE = "storage.yaml"
COORDINATOR_FILE = "kv-coordinator.yaml"
# There once all storage nodes have begun with their backup.
RESTORED_FILE = "restored"

# Below FOLDER.
DSN_PATH, TOKEN_PATH, REDIS_PATH = "database/dsn", "token/token", "redis/password"
KEYS_PATH, ADMIN_PATH = "auth/keys", "auth/admin-secret"
CLIENT_TLS, NODE_TLS = "tls", "node-tls"
