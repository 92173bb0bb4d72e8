-- A ledger as it was before it knew project and person: written by the code of schema 2, as SQLite's .dump shows it.
BEGIN TRANSACTION;
CREATE TABLE executions (
            id TEXT NOT NULL PRIMARY KEY,
            stage TEXT NOT NULL,
            run_id TEXT NOT NULL,
            experiment TEXT,
            configuration_key TEXT NOT NULL,
            params_digest TEXT,
            work REAL,
            started_utc TEXT NOT NULL,
            ended_utc TEXT,
            duration_s REAL,
            status TEXT NOT NULL,
            pid INTEGER NOT NULL,
            process_start INTEGER NOT NULL,
            boot_id TEXT NOT NULL,
            pid_namespace TEXT NOT NULL,
            host TEXT NOT NULL,
            energy_j REAL,
            uncertainty_j REAL,
            measured_fraction REAL,
            idle_j REAL,
            carbon_g REAL,
            cost REAL,
            currency TEXT,
            power_w REAL,
            heartbeat_utc TEXT,
            heartbeats INTEGER NOT NULL,
            done REAL,
            total REAL,
            resumed_from TEXT,
            resumed_j REAL NOT NULL,
            resumed_carbon_g REAL NOT NULL,
            resumed_duration_s REAL NOT NULL,
            sources TEXT,
            exit_code INTEGER,
            message TEXT,
            energy TEXT,
            metrics TEXT,
            artifact_digest TEXT
        , workload TEXT, inputs TEXT, steps REAL, steps_j REAL, steps_s REAL);
INSERT INTO "executions" VALUES('1ffc027e82f957001afbc1ad94823b3d','train','run-1',NULL,'key-1',NULL,12.0,'2026-11-29T13:19:56.686918+00:00','2026-11-29T13:19:56.812877+00:00',2.0,'done',3176,305156,'a0a01f69-e970-4eca-8947-a186f586791a','pid:[4026531836]','vm',60.0,3.0,0.0,NULL,0.01,NULL,NULL,3.9841827308206205771e+02,'2026-11-29T13:19:56.812477+00:00',1,3.0,10.0,NULL,0.0,0.0,0.0,'',0,NULL,'{"schema":1,"energy_j":60.0,"duration_s":2.0,"uncertainty_j":3.0,"measured_fraction":0.0,"carbon_g":0.01,"components":[]}','{"accuracy":0.9}','a','w','{"data":"d"}',2.0,20.0,1.0);
CREATE INDEX executions_by_start ON executions (started_utc);
CREATE INDEX executions_by_run ON executions (run_id);
CREATE INDEX executions_by_configuration ON executions (stage, configuration_key);
CREATE INDEX executions_running ON executions (status) WHERE status = 'running';
PRAGMA user_version = 2;
COMMIT;
