BEGIN TRANSACTION;
CREATE TABLE alarm (
	site VARCHAR NOT NULL, 
	hazard VARCHAR NOT NULL, 
	exercise BOOLEAN NOT NULL, 
	state VARCHAR NOT NULL, 
	known VARCHAR NOT NULL, 
	due_ms BIGINT, 
	CONSTRAINT pk_alarm PRIMARY KEY (site, hazard, exercise)
);
INSERT INTO "alarm" VALUES('daping-underpass','underpass',0,'{"site":"daping-underpass","hazard":"underpass","process":"active-unacknowledged","hold":null,"level":4,"stage":"now","alert":"daping-underpass.underpass.1750000000000","round":1,"flaps":0,"began_ms":1750000000000,"lower_since_ms":1750000180000,"answered_by":"","shelved_until_ms":null,"shelved_up_to":4,"sources":{"depth::gw:ruler-1":{"level":3,"stage":"now","at_ms":1750000180000}},"exercise":false}','{"depth::gw:ruler-1":{"figures":{"device":"ruler-1","depth_cm":"34"},"cause":{"en":"ruler-1: depth 0.34 m","zh":"ruler-1：积水深度 34 cm"},"measured":{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}}}',1750000780000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE alert (
	id INTEGER NOT NULL, 
	rule VARCHAR NOT NULL, 
	part VARCHAR NOT NULL, 
	hazard VARCHAR NOT NULL, 
	level VARCHAR NOT NULL, 
	gateway VARCHAR NOT NULL, 
	site VARCHAR NOT NULL, 
	sensor VARCHAR NOT NULL, 
	quantity VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	raised_at_ms BIGINT NOT NULL, 
	raised_value FLOAT, 
	received_at_ms BIGINT NOT NULL, 
	cleared_at_ms BIGINT, 
	cleared_value FLOAT, 
	CONSTRAINT pk_alert PRIMARY KEY (id)
);
INSERT INTO "alert" VALUES(1,'depth','','underpass','red','gw','daping-underpass','ruler-1','depth','m',1750000000000,NULL,1750000000000,NULL,NULL);
CREATE TABLE alert_change (
	alert INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	at_ms BIGINT NOT NULL, 
	received_at_ms BIGINT NOT NULL, 
	level VARCHAR, 
	value FLOAT, 
	threshold FLOAT, 
	text VARCHAR NOT NULL, 
	text_zh VARCHAR NOT NULL, 
	parts VARCHAR NOT NULL, 
	taken_at_ms BIGINT, 
	CONSTRAINT pk_alert_change PRIMARY KEY (alert, number), 
	CONSTRAINT fk_alert_change_alert_alert FOREIGN KEY(alert) REFERENCES alert (id)
)
 WITHOUT ROWID

;
INSERT INTO "alert_change" VALUES(1,1,1750000000000,1750000000000,'red',0.34,0.3,'depth 0.34 m','积水深度 34 cm','{}',1750000000000);
INSERT INTO "alert_change" VALUES(1,2,1750000180000,1750000180000,'orange',0.34,0.3,'depth 0.34 m','积水深度 34 cm','{}',1750000180000);
CREATE TABLE call (
	id VARCHAR NOT NULL, 
	contact VARCHAR NOT NULL, 
	code VARCHAR NOT NULL, 
	parts VARCHAR NOT NULL, 
	exercise BOOLEAN NOT NULL, 
	made_ms BIGINT NOT NULL, 
	answered_ms BIGINT, 
	answered_by VARCHAR, 
	CONSTRAINT pk_call PRIMARY KEY (id)
);
INSERT INTO "call" VALUES('c1c6b746f76904b4','he-lan','4348','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]',0,1750000000000,NULL,NULL);
INSERT INTO "call" VALUES('235a121030e9d911','he-lan','5396','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]',0,1750000060000,NULL,NULL);
INSERT INTO "call" VALUES('51da38b916d0328d','he-lan','3227','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]',0,1750000120000,NULL,NULL);
INSERT INTO "call" VALUES('4d54f96545accfca','he-lan','7466','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]',0,1750000180000,NULL,NULL);
INSERT INTO "call" VALUES('551ee8a3622a2eb3','he-lan','7510','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]',0,1750000240000,NULL,NULL);
INSERT INTO "call" VALUES('ce094d750710dec2','he-lan','0250','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]',0,1750000300000,NULL,NULL);
INSERT INTO "call" VALUES('9ecb8de94bdf5251','lu-ming','3196','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao",true]]',0,1750000300000,NULL,NULL);
CREATE TABLE cap_document (
	identifier VARCHAR NOT NULL, 
	alert VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	sender VARCHAR NOT NULL, 
	sent_ms BIGINT NOT NULL, 
	level VARCHAR, 
	stage VARCHAR NOT NULL, 
	document BLOB NOT NULL, 
	in_force BOOLEAN NOT NULL, 
	CONSTRAINT pk_cap_document PRIMARY KEY (identifier)
);
CREATE TABLE copy_position (
	source VARCHAR NOT NULL, 
	next_ms BIGINT NOT NULL, 
	CONSTRAINT pk_copy_position PRIMARY KEY (source)
)
 WITHOUT ROWID

;
CREATE TABLE escalation (
	alert VARCHAR NOT NULL, 
	incident VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	due_ms BIGINT, 
	CONSTRAINT pk_escalation PRIMARY KEY (alert)
);
INSERT INTO "escalation" VALUES('daping-underpass.underpass.1750000000000','daping-underpass.1750000000000','{"alert":"daping-underpass.underpass.1750000000000","site":"daping-underpass","hazard":"underpass","plan":"98a10c482bd12797","exercise":false,"phase":"ringing","level":4,"stage":"now","round":1,"rungs":[["daping-shiqiao-3",1750000000000,1750000300000,1750000900000,6,["he-lan"]],["daping-shiqiao",1750000300000,1750000600000,1750000360000,1,["lu-ming"]]],"told":["he-lan","dongjiang-duty-night","lu-ming"],"infos":2,"at_top":false,"answer":null}',1750000360000);
CREATE TABLE event (
	gateway VARCHAR NOT NULL, 
	stream VARCHAR NOT NULL, 
	batch BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	at_ms BIGINT NOT NULL, 
	site VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	text VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	CONSTRAINT pk_event PRIMARY KEY (gateway, stream, batch, position)
);
CREATE TABLE gap (
	gateway VARCHAR NOT NULL, 
	stream VARCHAR NOT NULL, 
	batch BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	reason VARCHAR NOT NULL, 
	from_ms BIGINT NOT NULL, 
	to_ms BIGINT NOT NULL, 
	readings BIGINT, 
	batches VARCHAR NOT NULL, 
	CONSTRAINT pk_gap PRIMARY KEY (gateway, stream, batch, position)
);
CREATE TABLE gateway (
	gateway VARCHAR NOT NULL, 
	shard VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	stream VARCHAR, 
	pending BIGINT, 
	at_ms BIGINT NOT NULL, 
	received_at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_gateway PRIMARY KEY (gateway)
);
CREATE TABLE heard (
	id VARCHAR NOT NULL, 
	at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_heard PRIMARY KEY (id)
);
CREATE TABLE held (
	contact VARCHAR NOT NULL, 
	exercise BOOLEAN NOT NULL, 
	number INTEGER NOT NULL, 
	sends VARCHAR NOT NULL, 
	CONSTRAINT pk_held PRIMARY KEY (contact, exercise, number)
)
 WITHOUT ROWID

;
CREATE TABLE horizon (
	gateway VARCHAR NOT NULL, 
	level VARCHAR NOT NULL, 
	at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_horizon PRIMARY KEY (gateway, level)
)
 WITHOUT ROWID

;
CREATE TABLE incident (
	id VARCHAR NOT NULL, 
	site VARCHAR NOT NULL, 
	exercise BOOLEAN NOT NULL, 
	state VARCHAR NOT NULL, 
	opened_ms BIGINT NOT NULL, 
	closed_ms BIGINT, 
	due_ms BIGINT, 
	CONSTRAINT pk_incident PRIMARY KEY (id)
);
INSERT INTO "incident" VALUES('daping-underpass.1750000000000','daping-underpass',0,'{"site":"daping-underpass","opened_ms":1750000000000,"alerts":["daping-underpass.underpass.1750000000000"],"active":["daping-underpass.underpass.1750000000000"],"peak":4,"quiet_since_ms":null,"exercise":false}',1750000000000,NULL,NULL);
CREATE TABLE interlock (
	gateway VARCHAR NOT NULL, 
	site VARCHAR NOT NULL, 
	wanted VARCHAR NOT NULL, 
	confirmed VARCHAR, 
	depth FLOAT, 
	cause VARCHAR NOT NULL, 
	at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_interlock PRIMARY KEY (gateway, site)
);
CREATE TABLE lease (
	name VARCHAR NOT NULL, 
	owner VARCHAR NOT NULL, 
	until_ms BIGINT NOT NULL, 
	generation BIGINT NOT NULL, 
	CONSTRAINT pk_lease PRIMARY KEY (name)
)
 WITHOUT ROWID

;
CREATE TABLE ledger (
	gateway VARCHAR NOT NULL, 
	stream VARCHAR NOT NULL, 
	first BIGINT NOT NULL, 
	last BIGINT NOT NULL, 
	CONSTRAINT pk_ledger PRIMARY KEY (gateway, stream, first)
)
 WITHOUT ROWID

;
CREATE TABLE mailbox (
	contact VARCHAR NOT NULL, 
	exercise BOOLEAN NOT NULL, 
	state VARCHAR NOT NULL, 
	due_ms BIGINT, 
	CONSTRAINT pk_mailbox PRIMARY KEY (contact, exercise)
);
INSERT INTO "mailbox" VALUES('he-lan',0,'{"contact":"he-lan","closes_ms":1750000360000,"top":4,"number":0,"held":0,"exercise":false}',NULL);
INSERT INTO "mailbox" VALUES('dongjiang-duty-night',0,'{"contact":"dongjiang-duty-night","closes_ms":1750000360000,"top":0,"number":0,"held":0,"exercise":false}',NULL);
INSERT INTO "mailbox" VALUES('lu-ming',0,'{"contact":"lu-ming","closes_ms":1750000360000,"top":4,"number":0,"held":0,"exercise":false}',NULL);
CREATE TABLE outgoing (
	"key" VARCHAR NOT NULL, 
	incident VARCHAR NOT NULL, 
	contact VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	parts VARCHAR NOT NULL, 
	message VARCHAR NOT NULL, 
	made_ms BIGINT NOT NULL, 
	not_before_ms BIGINT NOT NULL, 
	done_ms BIGINT, 
	outcome VARCHAR NOT NULL, 
	provider_id VARCHAR, 
	detail VARCHAR NOT NULL, 
	call VARCHAR, 
	CONSTRAINT pk_outgoing PRIMARY KEY ("key")
);
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/raise/daping-shiqiao-3/he-lan/0/sms','daping-underpass.1750000000000','he-lan','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/raise/daping-shiqiao-3/he-lan/0/sms","title":"红色预警：大坪下穿道积水","text":"正在发生，23:06。ruler-1：积水深度 34 cm。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/c1c6b746f76904b4.R9Jfj8rFkVFPUXcmgVFD4A","kind":"raise","at_ms":1750000000000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/c1c6b746f76904b4.R9Jfj8rFkVFPUXcmgVFD4A","answer_code":"4348","token":"c1c6b746f76904b4.R9Jfj8rFkVFPUXcmgVFD4A","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000000000,1750000000000,NULL,'',NULL,'','c1c6b746f76904b4');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/raise/daping-shiqiao-3/he-lan/0/voice','daping-underpass.1750000000000','he-lan','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/raise/daping-shiqiao-3/he-lan/0/voice","title":"红色预警：大坪下穿道积水","text":"正在发生，23:06。ruler-1：积水深度 34 cm。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/c1c6b746f76904b4.R9Jfj8rFkVFPUXcmgVFD4A","kind":"raise","at_ms":1750000000000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/c1c6b746f76904b4.R9Jfj8rFkVFPUXcmgVFD4A","answer_code":"4348","token":"c1c6b746f76904b4.R9Jfj8rFkVFPUXcmgVFD4A","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000000000,1750000030000,NULL,'',NULL,'','c1c6b746f76904b4');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/copy/dongjiang/dongjiang-duty-night/0/duty-room','daping-underpass.1750000000000','dongjiang-duty-night','duty-room','[["daping-underpass.underpass.1750000000000",1,"dongjiang",false]]','{"key":"daping-underpass.underpass.1750000000000/1/copy/dongjiang/dongjiang-duty-night/0/duty-room","title":"红色预警（知会）：大坪下穿道积水","text":"正在发生，23:06。ruler-1：积水深度 34 cm。无需应答。","kind":"copy","at_ms":1750000000000,"to":"","name":"东江区防汛办夜班","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":null,"answer_code":null,"token":null,"exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000000000,1750000000000,NULL,'',NULL,'',NULL);
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/1/sms','daping-underpass.1750000000000','he-lan','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/1/sms","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:07。ruler-1：积水深度 34 cm。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/235a121030e9d911.NKo0NLr4SOZJeLmm9FHbqw","kind":"again","at_ms":1750000060000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/235a121030e9d911.NKo0NLr4SOZJeLmm9FHbqw","answer_code":"5396","token":"235a121030e9d911.NKo0NLr4SOZJeLmm9FHbqw","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000060000,1750000060000,NULL,'',NULL,'','235a121030e9d911');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/1/voice','daping-underpass.1750000000000','he-lan','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/1/voice","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:07。ruler-1：积水深度 34 cm。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/235a121030e9d911.NKo0NLr4SOZJeLmm9FHbqw","kind":"again","at_ms":1750000060000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/235a121030e9d911.NKo0NLr4SOZJeLmm9FHbqw","answer_code":"5396","token":"235a121030e9d911.NKo0NLr4SOZJeLmm9FHbqw","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000060000,1750000090000,NULL,'',NULL,'','235a121030e9d911');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/2/sms','daping-underpass.1750000000000','he-lan','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/2/sms","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:08。ruler-1：积水深度 34 cm（23:06）。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/51da38b916d0328d.WTY5M4Feus1o3VvL8PD7WA","kind":"again","at_ms":1750000120000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/51da38b916d0328d.WTY5M4Feus1o3VvL8PD7WA","answer_code":"3227","token":"51da38b916d0328d.WTY5M4Feus1o3VvL8PD7WA","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000120000,1750000120000,NULL,'',NULL,'','51da38b916d0328d');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/2/voice','daping-underpass.1750000000000','he-lan','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/2/voice","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:08。ruler-1：积水深度 34 cm（23:06）。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/51da38b916d0328d.WTY5M4Feus1o3VvL8PD7WA","kind":"again","at_ms":1750000120000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/51da38b916d0328d.WTY5M4Feus1o3VvL8PD7WA","answer_code":"3227","token":"51da38b916d0328d.WTY5M4Feus1o3VvL8PD7WA","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000120000,1750000150000,NULL,'',NULL,'','51da38b916d0328d');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/3/sms','daping-underpass.1750000000000','he-lan','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/3/sms","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:09。ruler-1：积水深度 34 cm（23:06）。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/4d54f96545accfca.XppaKrNHPGQ9BFKtsubnyw","kind":"again","at_ms":1750000180000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/4d54f96545accfca.XppaKrNHPGQ9BFKtsubnyw","answer_code":"7466","token":"4d54f96545accfca.XppaKrNHPGQ9BFKtsubnyw","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000180000,1750000180000,NULL,'',NULL,'','4d54f96545accfca');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/3/voice','daping-underpass.1750000000000','he-lan','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/3/voice","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:09。ruler-1：积水深度 34 cm（23:06）。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/4d54f96545accfca.XppaKrNHPGQ9BFKtsubnyw","kind":"again","at_ms":1750000180000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/4d54f96545accfca.XppaKrNHPGQ9BFKtsubnyw","answer_code":"7466","token":"4d54f96545accfca.XppaKrNHPGQ9BFKtsubnyw","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000000000}],"cap":null}',1750000180000,1750000210000,NULL,'',NULL,'','4d54f96545accfca');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/4/sms','daping-underpass.1750000000000','he-lan','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/4/sms","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:10。ruler-1：积水深度 34 cm。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/551ee8a3622a2eb3.zCG0mIniGC_UFTkdlU2GJQ","kind":"again","at_ms":1750000240000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/551ee8a3622a2eb3.zCG0mIniGC_UFTkdlU2GJQ","answer_code":"7510","token":"551ee8a3622a2eb3.zCG0mIniGC_UFTkdlU2GJQ","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000240000,1750000240000,NULL,'',NULL,'','551ee8a3622a2eb3');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/4/voice','daping-underpass.1750000000000','he-lan','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/4/voice","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:10。ruler-1：积水深度 34 cm。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:11前应答。https://flood.example/a/551ee8a3622a2eb3.zCG0mIniGC_UFTkdlU2GJQ","kind":"again","at_ms":1750000240000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/551ee8a3622a2eb3.zCG0mIniGC_UFTkdlU2GJQ","answer_code":"7510","token":"551ee8a3622a2eb3.zCG0mIniGC_UFTkdlU2GJQ","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000240000,1750000270000,NULL,'',NULL,'','551ee8a3622a2eb3');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/5/sms','daping-underpass.1750000000000','he-lan','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/5/sms","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:11。ruler-1：积水深度 34 cm（23:09）。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请立即应答。https://flood.example/a/ce094d750710dec2.gtrwa677PYOOQmE789ROwg","kind":"again","at_ms":1750000300000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/ce094d750710dec2.gtrwa677PYOOQmE789ROwg","answer_code":"0250","token":"ce094d750710dec2.gtrwa677PYOOQmE789ROwg","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000300000,1750000300000,NULL,'',NULL,'','ce094d750710dec2');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/5/voice','daping-underpass.1750000000000','he-lan','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao-3",true]]','{"key":"daping-underpass.underpass.1750000000000/1/again/daping-shiqiao-3/he-lan/5/voice","title":"红色预警，请立即应答：大坪下穿道积水","text":"正在发生，23:11。ruler-1：积水深度 34 cm（23:09）。大坪下穿道积水34厘米，信号灯未知。请何岚立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请立即应答。https://flood.example/a/ce094d750710dec2.gtrwa677PYOOQmE789ROwg","kind":"again","at_ms":1750000300000,"to":"+8612300000002","name":"何岚","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/ce094d750710dec2.gtrwa677PYOOQmE789ROwg","answer_code":"0250","token":"ce094d750710dec2.gtrwa677PYOOQmE789ROwg","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000300000,1750000330000,NULL,'',NULL,'','ce094d750710dec2');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/climb/daping-shiqiao/lu-ming/0/sms','daping-underpass.1750000000000','lu-ming','sms','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao",true]]','{"key":"daping-underpass.underpass.1750000000000/1/climb/daping-shiqiao/lu-ming/0/sms","title":"红色预警，下级未应答：大坪下穿道积水","text":"正在发生，23:11。ruler-1：积水深度 34 cm（23:09）。大坪下穿道积水34厘米，信号灯未知。请陆明立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:16前应答。https://flood.example/a/9ecb8de94bdf5251.Yh7sf7cFyVkH3X316iK_TQ","kind":"climb","at_ms":1750000300000,"to":"+8612300000003","name":"陆明","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/9ecb8de94bdf5251.Yh7sf7cFyVkH3X316iK_TQ","answer_code":"3196","token":"9ecb8de94bdf5251.Yh7sf7cFyVkH3X316iK_TQ","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000300000,1750000300000,NULL,'',NULL,'','9ecb8de94bdf5251');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/climb/daping-shiqiao/lu-ming/0/voice','daping-underpass.1750000000000','lu-ming','voice','[["daping-underpass.underpass.1750000000000",1,"daping-shiqiao",true]]','{"key":"daping-underpass.underpass.1750000000000/1/climb/daping-shiqiao/lu-ming/0/voice","title":"红色预警，下级未应答：大坪下穿道积水","text":"正在发生，23:11。ruler-1：积水深度 34 cm（23:09）。大坪下穿道积水34厘米，信号灯未知。请陆明立即封闭道路，引导车辆绕行石桥北路，确认道内无人。请在23:16前应答。https://flood.example/a/9ecb8de94bdf5251.Yh7sf7cFyVkH3X316iK_TQ","kind":"climb","at_ms":1750000300000,"to":"+8612300000003","name":"陆明","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":"https://flood.example/a/9ecb8de94bdf5251.Yh7sf7cFyVkH3X316iK_TQ","answer_code":"3196","token":"9ecb8de94bdf5251.Yh7sf7cFyVkH3X316iK_TQ","exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000300000,1750000330000,NULL,'',NULL,'','9ecb8de94bdf5251');
INSERT INTO "outgoing" VALUES('daping-underpass.underpass.1750000000000/1/copy/dongjiang/dongjiang-duty-night/1/duty-room','daping-underpass.1750000000000','dongjiang-duty-night','duty-room','[["daping-underpass.underpass.1750000000000",1,"dongjiang",false]]','{"key":"daping-underpass.underpass.1750000000000/1/copy/dongjiang/dongjiang-duty-night/1/duty-room","title":"红色预警（知会）：大坪下穿道积水","text":"正在发生，23:11。ruler-1：积水深度 34 cm（23:09）。无需应答。","kind":"copy","at_ms":1750000300000,"to":"","name":"东江区防汛办夜班","language":"zh","level":"red","incident":"daping-underpass.1750000000000","site":"daping-underpass","expires_ms":null,"link":null,"answer_code":null,"token":null,"exercise":false,"readings":[{"sensor":"ruler-1","quantity":"depth","value":0.34,"unit":"m","at_ms":1750000180000}],"cap":null}',1750000300000,1750000300000,NULL,'',NULL,'',NULL);
CREATE TABLE overflow (
	gateway VARCHAR NOT NULL, 
	stream VARCHAR NOT NULL, 
	cases BIGINT NOT NULL, 
	readings BIGINT NOT NULL, 
	unknown BIGINT NOT NULL, 
	last_at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_overflow PRIMARY KEY (gateway, stream)
)
 WITHOUT ROWID

;
CREATE TABLE "plan" (
	version VARCHAR NOT NULL, 
	content VARCHAR NOT NULL, 
	CONSTRAINT pk_plan PRIMARY KEY (version)
);
INSERT INTO "plan" VALUES('98a10c482bd12797','{"title":"云汀市（示例）防汛与地灾响应预案 / Yunting (example) flood and geohazard plan","timezone":"Asia/Shanghai","language":"zh","digest_window_s":60.0,"answer_within_min":{"24h":60.0,"6h":30.0,"2h":10.0,"now":5.0},"area":{"yunting":{"name":"云汀市","name_en":"Yunting city","kind":"city","parent":null,"escalates_to":null},"dongjiang":{"name":"东江区","name_en":"Dongjiang district","kind":"district","parent":"yunting","escalates_to":null},"daping":{"name":"大坪街道","name_en":"Daping subdistrict","kind":"township","parent":"dongjiang","escalates_to":null},"daping-shiqiao":{"name":"石桥社区","name_en":"Shiqiao community","kind":"village","parent":"daping","escalates_to":null},"daping-shiqiao-3":{"name":"石桥社区第3网格","name_en":"Shiqiao grid 3","kind":"grid","parent":"daping-shiqiao","escalates_to":null},"hekou":{"name":"河口镇","name_en":"Hekou township","kind":"township","parent":"dongjiang","escalates_to":null},"hekou-shangwan":{"name":"上湾村","name_en":"Shangwan village","kind":"village","parent":"hekou","escalates_to":null}},"site":{"daping-underpass":{"name":"大坪下穿道","name_en":"Daping underpass","area":"daping-shiqiao-3","hazards":["underpass","equipment"],"values":{"detour":{"zh":"石桥北路","en":"Shiqiao North Road"}},"polygon":null,"circle":null,"geocode":{}},"jialing-huangshaxi":{"name":"黄沙溪水位站","name_en":"Huangshaxi gauge","area":"hekou-shangwan","hazards":["river","rainstorm","equipment"],"values":{"shelter":{"zh":"上湾小学","en":"Shangwan school"}},"polygon":null,"circle":null,"geocode":{}},"daping-slope":{"name":"上湾后山滑坡点","name_en":"Shangwan slope","area":"hekou-shangwan","hazards":["landslide","equipment"],"values":{"shelter":{"zh":"上湾小学","en":"Shangwan school"}},"polygon":null,"circle":null,"geocode":{}}},"contact":{"zhou-qing":{"name":"周青","name_en":"Zhou Qing","area":"daping-shiqiao-3","roles":["网格员"],"language":null,"channels":["sms","voice"],"address":{"phone":"+8612300000001"},"duty":["day"],"away":[]},"he-lan":{"name":"何岚","name_en":"He Lan","area":"daping-shiqiao-3","roles":["网格员"],"language":null,"channels":["sms","voice"],"address":{"phone":"+8612300000002"},"duty":["night"],"away":[]},"lu-ming":{"name":"陆明","name_en":"Lu Ming","area":"daping-shiqiao","roles":["社区书记"],"language":null,"channels":["sms","voice"],"address":{"phone":"+8612300000003"},"duty":[],"away":[]},"tan-bo":{"name":"谭波","name_en":"Tan Bo","area":"daping","roles":["街道防汛责任人"],"language":null,"channels":["sms","voice","email"],"address":{"phone":"+8612300000004","email":"tan.bo@example.org"},"duty":[],"away":[]},"ding-rui":{"name":"丁睿","name_en":"Ding Rui","area":"hekou-shangwan","roles":["村主任"],"language":null,"channels":["sms","voice"],"address":{"phone":"+8612300000005"},"duty":[],"away":[]},"bai-ning":{"name":"白宁","name_en":"Bai Ning","area":"hekou","roles":["镇防汛责任人"],"language":null,"channels":["sms","voice"],"address":{"phone":"+8612300000006"},"duty":[],"away":[]},"dongjiang-duty-day":{"name":"东江区防汛办白班","name_en":"Dongjiang flood office (day)","area":"dongjiang","roles":["值班室"],"language":null,"channels":["duty-room","voice"],"address":{"phone":"+861230000007"},"duty":["day"],"away":[]},"dongjiang-duty-night":{"name":"东江区防汛办夜班","name_en":"Dongjiang flood office (night)","area":"dongjiang","roles":["值班室"],"language":null,"channels":["duty-room","voice"],"address":{"phone":"+861230000008"},"duty":["night"],"away":[]},"dongjiang-traffic":{"name":"东江区交巡警支队","name_en":"Dongjiang traffic police","area":"dongjiang","roles":["交通"],"language":null,"channels":["sms"],"address":{"phone":"+8612300000009"},"duty":["office"],"away":[]},"city-duty":{"name":"云汀市防汛指挥部","name_en":"Yunting flood control","area":"yunting","roles":["指挥部"],"language":"zh","channels":["voice","email"],"address":{"phone":"+861230000010","email":"flood-control@example.org"},"duty":[],"away":[]}},"duty":{"day":{"windows":["daily 08:00-20:00"],"on":{}},"night":{"windows":["daily 20:00-08:00"],"on":{}},"office":{"windows":["Mon-Fri 08:30-18:00"],"on":{"2026-10-01":[],"2026-10-10":["08:30-18:00"]}}},"channel":{"sms":{"address":"phone","after_s":0.0},"voice":{"address":"phone","after_s":30.0},"email":{"address":"email","after_s":0.0},"duty-room":{"address":null,"after_s":0.0}},"tier":{"grid":{"answer_within_min":{},"retry_every_min":1.0,"ring_every_min":10.0},"village":{"answer_within_min":{},"retry_every_min":1.0,"ring_every_min":10.0},"city":{"answer_within_min":{"now":10.0},"retry_every_min":2.0,"ring_every_min":10.0}},"hazard":{"underpass":{"levels":["orange","red"],"climbs_to":{"blue":null,"yellow":null,"orange":"district","red":null}},"river":{"levels":["blue","yellow","orange","red"],"climbs_to":{"blue":"township","yellow":"district","orange":null,"red":null}},"rainstorm":{"levels":["blue","yellow","orange","red"],"climbs_to":{"blue":"township","yellow":"district","orange":null,"red":null}},"landslide":{"levels":["blue","yellow","orange","red"],"climbs_to":{"blue":"township","yellow":null,"orange":null,"red":null}},"equipment":{"levels":["blue","yellow","orange","red"],"climbs_to":{"blue":"village","yellow":"township","orange":"district","red":"district"}}},"instruction":[{"hazard":"underpass","levels":["orange"],"tiers":["grid","village"],"zh":"{site}积水{depth_cm}厘米。请{contact}到场查看，设置警示，劝阻小型车辆通行。","en":"{site}: {depth_cm} cm of water. {contact}, go there, put up warnings, keep small cars out."},{"hazard":"underpass","levels":["red"],"tiers":["grid","village"],"zh":"{site}积水{depth_cm}厘米，信号灯{lamp}。请{contact}立即封闭道路，引导车辆绕行{detour}，确认道内无人。","en":"{site}: {depth_cm} cm, lamp {lamp}. {contact}, close the road now, divert to {detour}, make sure that nobody is inside."},{"hazard":"underpass","levels":["orange","red"],"tiers":["township","district","city"],"zh":"{site}{level}预警，积水{depth_cm}厘米，下级未应答。请{area}派人封控并调度排水。","en":"{site}: {level}, {depth_cm} cm, no answer below. {area}: send people to close it, and pumps."},{"hazard":"river","levels":["blue","yellow"],"tiers":["grid","village","township","district","city"],"zh":"{site}水位{stage_m}米，警戒水位{warning_m}米。请{contact}巡查堤岸，通知沿河住户。","en":"{site}: {stage_m} m, warning level {warning_m} m. {contact}, walk the banks, warn those who live there."},{"hazard":"river","levels":["orange","red"],"tiers":["grid","village","township","district","city"],"zh":"{site}水位{stage_m}米，保证水位{guarantee_m}米。请{area}立即组织低洼处人员转移到{shelter}。","en":"{site}: {stage_m} m, guarantee level {guarantee_m} m. {area}: move people from low ground to {shelter} now."},{"hazard":"rainstorm","levels":["blue","yellow"],"tiers":["grid","village","township","district","city"],"zh":"{window_h}小时雨量{rain_mm}毫米。请{contact}检查排水口和隐患点。","en":"{rain_mm} mm in {window_h} h. {contact}, look after drains and known weak spots."},{"hazard":"rainstorm","levels":["orange","red"],"tiers":["grid","village","township","district","city"],"zh":"{window_h}小时雨量{rain_mm}毫米。请{area}停止户外作业，逐户叫应，危险区人员转移到{shelter}。","en":"{rain_mm} mm in {window_h} h. {area}: stop work outdoors, knock on every door, move people to {shelter}."},{"hazard":"landslide","levels":["blue","yellow"],"tiers":["grid","village","township","district","city"],"zh":"{site}裂缝{crack_mm}毫米，速率{rate_mm_d}毫米/天。请{contact}加密巡查，禁止靠近。","en":"{site}: crack {crack_mm} mm, {rate_mm_d} mm a day. {contact}, look more often, keep people away."},{"hazard":"landslide","levels":["orange","red"],"tiers":["grid","village","township","district","city"],"zh":"{site}裂缝速率{rate_mm_d}毫米/天。请{area}立即鸣锣叫应，全部人员转移到{shelter}，封闭道路。","en":"{site}: {rate_mm_d} mm a day. {area}: sound the gong, move everybody to {shelter}, close the road."},{"hazard":"equipment","levels":["blue","yellow","orange","red"],"tiers":["grid","village","township","district","city"],"zh":"{site}的{device}失灵，监测可能中断。请{contact}派人查看，恢复前人工值守。","en":"{device} at {site} has failed; it may be blind. {contact}, have it looked at, and watch by eye until then."}],"tell":[{"at":["raise","clear"],"roles":["交通"],"levels":["orange","red"],"hazards":["underpass"]},{"at":["raise","climb","clear"],"roles":["值班室"],"levels":["red"],"hazards":["underpass","river","rainstorm","landslide","equipment"]}]}');
CREATE TABLE quarantine (
	digest BLOB NOT NULL, 
	kind VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	words VARCHAR NOT NULL, 
	gateway VARCHAR, 
	stream VARCHAR, 
	batch BIGINT, 
	position BIGINT, 
	readings BIGINT, 
	ledgered BOOLEAN NOT NULL, 
	topic VARCHAR NOT NULL, 
	payload BLOB NOT NULL, 
	times BIGINT NOT NULL, 
	first_at_ms BIGINT NOT NULL, 
	last_at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_quarantine PRIMARY KEY (digest)
);
INSERT INTO "quarantine" VALUES(X'A4ED3516381F577B8F1F1FC01647B9E1FA835FC4FE4640FBFF20B27C5F3BA075','message','unreadable','nonsense','g',NULL,NULL,NULL,0,0,'shuichi/v1/0/g/data',X'78',1,1750000000000,1750000000000);
CREATE TABLE quarantine_log (
	id INTEGER NOT NULL, 
	at_ms BIGINT NOT NULL, 
	who VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	digest BLOB NOT NULL, 
	kind VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	words VARCHAR NOT NULL, 
	gateway VARCHAR, 
	stream VARCHAR, 
	batch BIGINT, 
	position BIGINT, 
	readings BIGINT, 
	ledgered BOOLEAN NOT NULL, 
	CONSTRAINT pk_quarantine_log PRIMARY KEY (id)
);
CREATE TABLE retired (
	gateway VARCHAR NOT NULL, 
	readings BIGINT NOT NULL, 
	CONSTRAINT pk_retired PRIMARY KEY (gateway)
)
 WITHOUT ROWID

;
CREATE TABLE rollup_due (
	gateway VARCHAR NOT NULL, 
	hour_ms BIGINT NOT NULL, 
	first_ms BIGINT NOT NULL, 
	last_ms BIGINT NOT NULL, 
	times BIGINT NOT NULL, 
	CONSTRAINT pk_rollup_due PRIMARY KEY (gateway, hour_ms)
)
 WITHOUT ROWID

;
CREATE TABLE rule_state (
	rule VARCHAR NOT NULL, 
	part VARCHAR NOT NULL, 
	gateway VARCHAR NOT NULL, 
	site VARCHAR NOT NULL, 
	sensor VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	CONSTRAINT pk_rule_state PRIMARY KEY (rule, part, gateway, site, sensor)
)
 WITHOUT ROWID

;
CREATE TABLE secret (
	name VARCHAR NOT NULL, 
	value BLOB NOT NULL, 
	CONSTRAINT pk_secret PRIMARY KEY (name)
);
CREATE TABLE stream (
	gateway VARCHAR NOT NULL, 
	stream VARCHAR NOT NULL, 
	readings BIGINT NOT NULL, 
	redelivered BIGINT NOT NULL, 
	sealed BIGINT NOT NULL, 
	readings_sealed BIGINT NOT NULL, 
	first_at_ms BIGINT, 
	last_at_ms BIGINT, 
	newest_ms BIGINT, 
	hole BIGINT, 
	hole_since_ms BIGINT, 
	version BIGINT NOT NULL, 
	CONSTRAINT pk_stream PRIMARY KEY (gateway, stream)
)
 WITHOUT ROWID

;
CREATE TABLE timeline (
	id INTEGER NOT NULL, 
	incident VARCHAR NOT NULL, 
	alert VARCHAR NOT NULL, 
	at_ms BIGINT NOT NULL, 
	kind VARCHAR NOT NULL, 
	who VARCHAR NOT NULL, 
	area VARCHAR NOT NULL, 
	text VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	CONSTRAINT pk_timeline PRIMARY KEY (id)
);
INSERT INTO "timeline" VALUES(1,'daping-underpass.1750000000000','daping-underpass.underpass.1750000000000',1750000000000,'incident','','','daping-underpass','{}');
INSERT INTO "timeline" VALUES(2,'daping-underpass.1750000000000','daping-underpass.underpass.1750000000000',1750000000000,'rise','','','','{"level":"red","status":"active-unacknowledged"}');
INSERT INTO "timeline" VALUES(3,'daping-underpass.1750000000000','daping-underpass.underpass.1750000000000',1750000000000,'opened','','daping-shiqiao-3','','{}');
INSERT INTO "timeline" VALUES(4,'daping-underpass.1750000000000','daping-underpass.underpass.1750000000000',1750000300000,'climbed','','daping-shiqiao','','{}');
CREATE INDEX ix_alarm_due_ms ON alarm (due_ms);
CREATE INDEX ix_alert_open ON alert (rule, part, gateway, site, sensor, cleared_at_ms);
CREATE INDEX ix_call_made_ms ON call (made_ms);
CREATE INDEX ix_call_open ON call (contact, answered_ms, made_ms, code);
CREATE INDEX ix_cap_document_alert ON cap_document (alert);
CREATE INDEX ix_cap_document_in_force ON cap_document (in_force);
CREATE INDEX ix_escalation_due_ms ON escalation (due_ms);
CREATE INDEX ix_escalation_incident ON escalation (incident);
CREATE INDEX ix_event_at_ms ON event (at_ms);
CREATE INDEX ix_heard_at_ms ON heard (at_ms);
CREATE INDEX ix_incident_due_ms ON incident (due_ms);
CREATE INDEX ix_incident_open ON incident (site, exercise, closed_ms);
CREATE INDEX ix_mailbox_due_ms ON mailbox (due_ms);
CREATE INDEX ix_outgoing_call ON outgoing (call);
CREATE INDEX ix_outgoing_due ON outgoing (channel, done_ms, not_before_ms);
CREATE INDEX ix_outgoing_incident ON outgoing (incident);
CREATE INDEX ix_quarantine_gateway ON quarantine (gateway);
CREATE INDEX ix_quarantine_log_digest ON quarantine_log (digest);
CREATE INDEX ix_quarantine_log_gateway ON quarantine_log (gateway);
CREATE INDEX ix_timeline_incident ON timeline (incident);
CREATE INDEX ix_alert_change_taken_at_ms ON alert_change (taken_at_ms);
COMMIT;
PRAGMA user_version = 0;
