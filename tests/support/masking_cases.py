"""Sample text to test masking with: some strings contain secrets, others do not.

Tokens are assembled from parts to keep secret scanners from reporting this file.
"""

_ALNUM = "q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeUoKiYbVxMzPwCrEdSgFhJlAn0O"
_HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def alnum(count: int) -> str:
    return (_ALNUM * (count // len(_ALNUM) + 1))[:count]


def hexa(count: int) -> str:
    return (_HEX * (count // len(_HEX) + 1))[:count]


def upper(count: int) -> str:
    return ("Q7ZK2LMX4TR5WC3NYH6P" * (count // 20 + 1))[:count]


def _lines(text: str) -> list[str]:
    return text.strip("\n").split("\n")


# Tokens that can be recognized by their format, whatever the text around them.
TOKENS = [
    *(f"gh{letter}_" + alnum(36) for letter in "pousr"),
    "github_" + "pat_" + alnum(22) + "_" + alnum(59),
    *("gl" + rest + alnum(20) for rest in ("pat-", "dt-", "rt-", "cbt-", "ptt-", "soat-")),
    *("xox" + rest + "123456789012-123456789012-" + alnum(24) for rest in ("b-", "p-", "a-", "s-")),
    "xapp" + "-1-A0123456789-1234567890123-" + hexa(64),
    "AK" + "IA" + upper(16),
    "AS" + "IA" + upper(16),
    "AI" + "za" + alnum(35),
    "ya" + "29." + alnum(60),
    "GOC" + "SPX-" + alnum(28),
    *(f"{kind}_" + mode + alnum(24) for kind in ("sk", "rk") for mode in ("live_", "test_")),
    "wh" + "sec_" + alnum(32),
    "s" + "k-" + alnum(48),
    "s" + "k-proj-" + alnum(74) + "_" + alnum(73),
    "s" + "k-ant-api03-" + alnum(93) + "AA",
    "s" + "k-or-v1-" + hexa(64),
    "gs" + "k_" + alnum(52),
    "xa" + "i-" + alnum(80),
    "pp" + "lx-" + alnum(48),
    "r" + "8_" + alnum(37),
    "tv" + "ly-" + alnum(32),
    "1234567890" + ":AA" + alnum(33),
    "M" + alnum(23) + "." + alnum(6) + "." + alnum(38),
    "np" + "m_" + alnum(36),
    "py" + "pi-AgEIcHlwaS5vcmc" + alnum(70),
    "dc" + "kr_pat_" + alnum(27),
    "h" + "f_" + alnum(34),
    "S" + "G." + alnum(22) + "." + alnum(43),
    "S" + "K" + hexa(32),
    "A" + "C" + hexa(32),
    "do" + "p_v1_" + hexa(64),
    "sh" + "pat_" + hexa(32),
    "lin" + "_api_" + alnum(40),
    "nt" + "n_" + alnum(46),
    "secret" + "_" + alnum(43),
    "da" + "pi" + hexa(32),
    "hv" + "s." + alnum(90),
    "AGE-SECRET" + "-KEY-1" + upper(58),
    "ey" + "J" + alnum(30) + "." + "ey" + "J" + alnum(60) + "." + alnum(43),
    "sq" + "0atp-" + alnum(22),
    "LT" + "AI" + alnum(20),
    "ATA" + "TT3" + alnum(180),
    "fig" + "d_" + alnum(40),
    "gl" + "sa_" + alnum(32) + "_" + hexa(8),
    "NR" + "AK-" + upper(27),
    "PM" + "AK-" + hexa(24) + "-" + hexa(34),
    "sb" + "p_" + hexa(40),
    "sgp" + "_" + hexa(40),
    "sq" + "p_" + hexa(40),
    "tsk" + "ey-auth-" + alnum(40),
    "pul" + "-" + hexa(40),
    "rub" + "ygems_" + hexa(48),
    "syt" + "_bWF5YQ_" + alnum(20) + "_" + alnum(6),
    hexa(32) + "-us" + "12",
    "abc" + "8Q~" + alnum(34),
    alnum(14) + ".atlas" + "v1." + alnum(65),
    "$6$" + "saltsalt$" + alnum(86),
    "$2b$" + "12$" + alnum(53),
    "$argon2id$" + "v=19$m=65536,t=3,p=4$" + alnum(22) + "$" + alnum(43),
    "pbkdf2_" + "sha256$870000$" + alnum(22) + "$" + alnum(43) + "=",
    "key" + "-" + hexa(32),
    "AK" + "Cp" + alnum(69),
    "doo" + "_v1_" + hexa(64),
    "pnu" + "_" + alnum(36),
    "sntr" + "ys_" + alnum(80),
    "xkey" + "sib-" + hexa(64) + "-" + alnum(16),
    "pscale" + "_tkn_" + alnum(43),
    "lsv2" + "_pt_" + hexa(32) + "_" + hexa(10),
    # One of each further service in the table of formats.
    *(
        "".join(parts)
        for parts in (
            ("A", "Q.Ab8RN6", alnum(44)),
            ("gh", "s_123456_", "ey" + "J" + alnum(20) + ".eyJ" + alnum(40) + "." + alnum(43)),
            ("sk", "_org_live_", alnum(40)),
            ("sk", "-lf-", hexa(8), "-", hexa(4), "-", hexa(4), "-", hexa(4), "-", hexa(12)),
            ("sk", "_", hexa(48)),
            ("f", "w_", alnum(24)),
            ("cs", "k-", alnum(48).lower()),
            ("tg", "p_v1_", alnum(43)),
            ("ji", "na_", hexa(32), alnum(28)),
            ("p", "a-", alnum(43)),
            ("B", "SA", alnum(28)),
            ("e", "2b_", hexa(40)),
            ("na", "pi_", alnum(64).lower()),
            ("vc", "p_", alnum(56)),
            ("cf", "ut_", alnum(40), hexa(8)),
            ("rn", "d_", alnum(28)),
            ("pa", "t", alnum(14), ".", hexa(64)),
            ("CCI", "PAT_", alnum(22), "_", hexa(40)),
            ("bk", "ua_", hexa(40)),
            ("ap", "ify_api_", alnum(36)),
            ("dd", "p_", alnum(36)),
            ("CC", "DB1_", alnum(22), "_", alnum(40)),
            ("md", "b_sa_sk_", alnum(40)),
            ("es", "su_", alnum(80)),
            ("uc", "at_", alnum(26)),
            ("tk", "-us-", alnum(48)),
            ("tf", "p_", alnum(59)),
            ("ph", "x_", alnum(47)),
            ("cm", "Vmd", alnum(59)),
            ("pa", "t.", alnum(22), ".", hexa(24), ".", alnum(20)),
            ("p8", "e-", alnum(32).lower()),
            ("s-s4", "t2ud-", hexa(64)),
            ("sm", "_pat_", alnum(16)),
            ("co", "g_", alnum(52).lower()),
            ("apk", "_user_", alnum(60), "+/", alnum(60), "=="),
            ("cn", "vca", alnum(51)),
            ("AIK", "_SECRET_", alnum(64)),
            ("dn", "key-", alnum(26), "-", alnum(52)),
            ("en", "dr+", alnum(16)),
            ("sc", "_", "q7zk2lmx9v.ab12.acc_", "q7zk2lmx9vb4.", alnum(40)),
            ("access", "-production-", hexa(8), *("-" + hexa(4) for _ in "123"), "-", hexa(12)),
            ("pat", "-na1-", hexa(8), *("-" + hexa(4) for _ in "123"), "-", hexa(12)),
            ("p", "k_", "12345678_", upper(32)),
            ("ak", "-", alnum(22)),
            ("2", alnum(26), "_", alnum(21)),
            ("cf", "lt", alnum(30), "/", alnum(29)),
            ("wandb", "_v1_", alnum(77)),
            ("ops", "_eyJ", alnum(100), "+", alnum(100)),
            (alnum(76), "AZ", "DO1a2B"),
            (alnum(6), "_", alnum(29), "_m", "mk"),
        )
    ),
    "xaat-" + "-".join(hexa(n) for n in (8, 4, 4, 4, 12)),
    "hcaik_" + "01" + alnum(56).lower(),
    "EAA" + "y" + alnum(90),
    "oauth:" + alnum(30).lower(),
]

# Strings that contain a secret. The marks "«" and "»" around it are removed before use.
NAMED = _lines(r"""
password=«a1B2c3»
password: «Letmein»
PASSWORD='«$ecret1»'
PASSWORD="«correct horse battery staple»"
db_password = "«hunter2»"
password='«Letmein»'
"password": "«hunter2»"
"password": "«word»",
{"user": "maya", "password": "«pass word»"}
{'passwd': '«tiger»'}
{\"password\": \"«hunter2»\"}
{\\\"password\\\": \\\"«hunter2»\\\"}
{"args": "{\"api_key\": \"«hello\\\"x1234»\"}"}
{"password":"«a\\»"}
{"password": "«a\"b\\\"c»", "x": 1}
{"cmd": "export TOKEN='«abcdefgh»'", "it's": 1}
{"cmd": "PASSWORD='«abc»", "b": "it's"}
{"cmd": "curl -H \"X-Api-Key: «abcdef123456»\" https://x"}
{"env": "A=1\nPASSWORD=«letmein»\nB=2"}
{"env": "A=1\\nDB_TOKEN=«letmeinnow»\\nB=2"}
export API_KEY=«abcdefghijklmnop»
export AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz»
AWS_SECRET_ACCESS_KEY="«wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz»"
aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz»
  password: «hunter2»
  - password: «Letmein»
DB_PASS=«word»
PGPASSWORD=«postgres» psql -h db
MYSQL_PWD=«tiger» mysqldump x
REDISCLI_AUTH=«hello123»
SECRET_KEY_BASE=«abcdefabcdef»
deploy --password «hunter» --force
deploy --password=«hunter» --force
deploy --password '«hun ter»' --force
deploy --api-key «abcdefghij»
deploy --token=«abcdefghij»
docker run -e POSTGRES_PASSWORD=«example1» postgres
Authorization: Bearer «abcdefgh12345678»
Authorization: Basic «bWF5YTpodW50ZXIy»
authorization: token «abcdefgh12345678»
curl -H "Authorization: Bearer «abcdefgh12345678»" https://x
curl -H 'Authorization: «abcdefgh12345678»' https://x
{"Authorization": "Bearer «abcdefgh12345678»"}
headers = {"Authorization": f"Bearer «abcdefgh12345678»"}
{"headers": {"X-Api-Key": "«abcdefgh»"}}
X-Api-Key: «abcdefgh12345678»
X-Auth-Token: «abcdefgh1234»
Cookie: «session=abc; id=1»
Set-Cookie: «sid=abcdef; Path=/; HttpOnly»
curl -b '«session=abc»' https://x
curl -b «session=abc» https://x
curl --cookie "«session=abc»" https://x
curl -u maya:«hunter2» https://x
curl -su maya:«hunter2» https://x
curl -u "maya:«hunter2»" https://x
curl --user maya:«hunter2» https://x
{"command": "curl -u \"maya:«hunter2»\" https://x"}
mysql -u root -p«hunter2» db
mysql -uroot -p'«hunter2»' db
sshpass -p «hunter2» ssh x
sshpass -p '«hunter 2»' ssh x
redis-cli -a «hunter2» ping
docker login -u maya -p «hunter2»
openssl rsa -passin pass:«hunter2» -in x
echo "maya:«hunter2»" | chpasswd
htpasswd -b -c file maya «hunter2»
zip -P «hunter2» x.zip x
machine example.org login maya password «hunter2»
db.example.org:5432:shop:maya:«hunter2»
postgres://maya:«hunter2»@db/shop
redis://:«hunter2»@cache:6379/0
https://maya:«hun@ter2»@example.org/x
mongodb+srv://maya:«h%40nter2»@example.org
https://«q7Zk2LmX9vB4tR8sWc3NyH6p»@example.org/x.git
https://example.org/?a=1&token=«abcDEF»&x=y
https://example.org/?access_token=«abcdef123»
https://example.org/?sv=2&sig=«abcdef%2F123»&se=1
https://example.org/?api_key=«abcdef»
password is «hunter2»
The password: «hunter2!» works now.
the admin password is «Tr0ub4dor&3».
my token is «abcdef1234567»
api_key => "«abcdefgh»"
'api_key' => '«abcdefgh»',
api_key: «abcdef123456»
apiKey: "«abcdefgh»",
const apiKey = "«abcdefgh»";
password := "«hunter2»"
token: str = "«abcdefgh1»"
connect(host="h", password="«word»")
connect(host="h", password='«word»')
Server=db;User=maya;Password=«hunter»;Database=shop
Server=db,Password=«hunter2»,x=1
user=maya,password=«hunter2»
user=maya;password=«hunter2»
DefaultEndpointsProtocol=https;AccountKey=«abcdefghijklmnopqrstuvwxyz0123456789==»;x=y
client_secret=«abcdefgh»&grant_type=x
"private_key": "«abcdefgh»"
<password>«hunter2»</password>
**Password:** «hunter2»
Password: `«hunter2»`
set_password("x"); setenv("API_KEY", "«abc123def»")
os.environ["API_KEY"] = "«abcdefgh»"
ENV DB_PASSWORD «hunter2»
set DB_PASSWORD=«hunter2»
$env:API_KEY = "«abcdefgh1»"
passphrase: «Letmein»
{"password": "«Correct horse battery staple»"}
print('password=\'«hunter2»\' and more')
{"code": "print('password=\\'«hunter2»\\' and more')"}
password=«n0thing»
password: «r2d2c3po»
Set-Cookie: «number=7»
client_secret: «abcdefgh»
api key: «abcd1234efgh»
The API key is «abcd1234efgh5678»
your password has been set to «hunter2»
AUTH_TOKEN='«abc»'
x-api-key: «abcdef»
{"name": "password", "value": "«hunter2»"}
{"key":"API_KEY","value":"«hunter2»"}
{"x": "{\"name\": \"DB_PASSWORD\", \"value\": \"«hunter2»\"}"}
- name: DB_PASSWORD\n  value: «hunter2»
requirepass «hunter2»
CREATE USER maya IDENTIFIED BY '«hunter»';
CREATE USER maya WITH PASSWORD '«hunter2»';
Password: \n«flag{d316759c281bf925}»\r\n
trying to login with password «flag{d316759c281bf925}» which
foo(password=«hunter2»)
token=«AbCdEfGhIjKl»
auth_token: «AbCdEfGhIjKl»
--secret-key «abcdefgh»
export PASSWORD=«changeme»
"password": "«changeme»"
password: «Passw0rd2026»
Password: «Passw0rd2026»
password: «Secret123»
admin password: «Adminlogin99»
login with password: «Passw0rd2026» please
api_key: «authkeyabcd1234567890»
const token = «authtokenabcdef0123456789»;
password=«my_pass_x9Q7»
PASSWORD=«your_cat_Fluffy99»
TOKEN=«my_token_abcdef0123456789»
password = '«my-secret-x9Q7zz»'
password: «the_dog99»
password=«$ecret123»
PASSWORD=«p4ss[w]ord9»
password=«@Xy9zQabc!»
password=«(Xy9zQabc»
password=«Qw9.Er7»
Password: «Welcome.To.Hell»
DB_PASSWORD=«abc.def»
postgres://user:«tiger»@db/shop
Cookie: «sessionid=abc»
{"cmd": "hi\nAPI key: «q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5a»"}
password_confirmation: «hunter2»
{"PASS": "«hunter2»"}
  PASS: «hunter2»
password for root: «hunter2»
Password for 'https://bob@example.org': «hunter2»
[sudo] password for maya: «hunter2»
https://x.example.org/?next=%2Flogin%3Fpassword%3D«hunter2»%26a%3Db
url=https%3A%2F%2Fbob%3A«hunter2»%40host%2Fx
https://b.s3.amazonaws.com/x?X-Amz-Signature=«9f86d081884c7d659a2feaa0c55ad015»&x=1
<add key="DbPassword" value="«hunter2»"/>
{"x": "<add key=\"DbPassword\" value=\"«hunter2»\"/>"}
<c name="password">«hunter2»</c>
<input name="password" value="«hunter2»">
<input name="password" type="password" value="«hunter2»">
aws configure set aws_secret_access_key «wJalrXUtnFEMI7K7MDENG»
npm config set //registry.example.org/:_authToken «abcdef12»
setx API_TOKEN «abcdef12»
echo «hunter2» | sudo -S ls
echo '«hunter two»' | sudo -S ls
echo "«hunter2»" | docker login -u maya --password-stdin
$x = ConvertTo-SecureString "«hunter2»" -AsPlainText
requests.get(url, auth=("bob", "«hunter2»"))
user.setPassword("«hunter2»");
sqlplus bob/«hunter2»@db
https://hooks.slack.com/services/«T0123ABCD/B0123ABCD/q7Zk2LmX9vB4tR8sWc3NyH6p»
https://discord.com/api/webhooks/«12345678901234567/q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeUoKiYbVxMzPwCrEdSgFhJlAn0Oq7Zk2L»
https://api.telegram.org/bot«1234567890:q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeU»/getMe
""")

NAMED += _lines(r"""
STRIPE_KEY=«abcd1234efgh»
export OPENWEATHER_KEY="«abcd1234efgh»"
FERNET_KEY=«abcDEF123=»
GITHUB_PAT=«abcd1234efgh5678»
MAPS_KEY: «abcd1234efgh»
{"MAPS_KEY": "«abcd1234efgh»"}
{"env": "{\"MAPS_KEY\": \"«abcd1234efgh»\"}"}
PresharedKey = «yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=»
password: «correct-horse-battery-staple»
The wifi passphrase is "«marble willow cactus saddle»" (lowercase)
The PIN for the door is «48213907»; come in.
SO-PIN «73920184» is for admins
The encryption passphrase for the backup is «marble-willow-cactus-saddle-onion».
The old password no longer works, it's now «Cactus?Willow88!».
Do not share the password. It was «marble-willow-88» until today
keystore pass and key pass are both «W1ll0wC4ctus_7», alias upload
TOTP seed for the root account: «JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXQ» (issuer X)
todoist api token «0a1b2c3d4e5f60718293a4b5c6d7e8f901234567»
acme admin key «0a1b2c3d4e5f60718293a4b5c6d7e8f9» index products
secret «0a1b2c3d4e5f60718293a4b5c6d7e8» environment production
{"cmd":["sshpass","-p","«marble-willow-27»","ssh","root@h1"]}
vault write auth/approle/login role_id=x secret_id=«0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9»
rclone obscure «Zq81kLm02Xw7»
aws_secret_access_key="«+q7Zk2LmX9vB4+R8sWc3NyH6pDf1GjT5aQeUoKiY»"
proxy_set_header Authorization "Basic «bWF5YTp3aWxsb3ctY2FjdHVzLTg4»";
maya : EAP "«willow-cactus-88»"
psk="«willow-cactus-marble»"
jdbc:sqlserver://h:1433;user=sa;password={«Willow*Cactus88%»};encrypt=true
Unseal Key 2: «q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeUoKiYbVxMz»
key1       FULL           «q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeUoKiYbVxMzPw==»
export BW_SESSION="«q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeUoKiYbVxMzPw==»"
GET /callback?code=«q7Zk2LmX9vB4tR8sWc3NyH6p»&state=login
https://api.example.org/data?q=x&appid=«0a1b2c3d4e5f60718293a4b5c6d7e8f9»
['cipher' => 'AES-256-CBC', 'key' => '«base64:q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5aQeUoKiYbVxM=»']
    Key Content            : «willow-cactus-88»
useradd -m -p «Willow88cactus» maya
creds: maya:«Willow88!cactus»
Das Kennwort für den Server ist «Willow88!cactus».
The api key for Datadog is «0a1b2c3d4e5f60718293a4b5c6d7e8f9», ok
A temporary password is generated for root@localhost: «wQ8(k,Lm0Xw7»
{"kty":"oct","kid":"a","k":"«q7Zk2LmX9vB4tR8sWc3NyH6p»"}
""")

# Strings that contain line breaks or control characters, and a secret between "«" and "»".
NAMED_IN_LINES = [
    '["X-Api-Key",\n   "«abcdef123456»"]',
    '{"client_secret":\n "«abcdefgh»"}',
    '{"value": "«abcdefgh»",\n  "name": "DB_PASSWORD"}',
    "Password:  \n«hunter2x»\n",
    "user: maya\npassword:\n«Tr0ub4dor&3»\nand more",
    "password:\t«hunter2»",
    "password:\u00a0«hunter2»",
    "password\uff1a«hunter2»",
    "password → «hunter2»",
    "password=\x1b[32m«hunter2»\x1b[0m",
    "\x1b[31mpassword\x1b[0m: \x1b[33m«hunter2»\x1b[0m",
    "\x1b[1;31mapi_key\x1b[0m = \x1b[33m'«abcdefgh1»'\x1b[0m",
    "\x1b[01;31m\x1b[KDB_PASSWORD\x1b[m\x1b[K=«word»",
    "Cookie: «a=b1»\x1b[0m",
    "password: |\n  «hunter2»\nuser: x",
    "<key>password</key>\n\t<string>«Hunter22»</string>",
    'Content-Disposition: form-data; name="password"\r\n\r\n«Hunter22»\r\n--b',
    "password: !vault |\n  «Hunter22x»\nuser: x",
    "Your personal access token:\n\n    «abcd1234EFGH5678»\n\nKeep it.",
    "$ openssl rand -base64 24\n«uX3bQ0/Yt7sLm2Va9Kd+Ew==»\n$ ls",
    "$ pass show work/db\n«Pebble%Tangerine62»\nuser: maya",
    "$ wg genkey | tee /dev/stderr\n«k1+Xh0b4Zr5qYw8uV2sTnE7mLcAoJdRfGpQiBtUyHx8=»\n",
    "$ terraform output -raw admin_password\n«q7#Lm2&xZ»",
    "$ printenv DEPLOY_TOKEN\n«a81Kd03mQx72»\n$ date",
    "$ cat config/master.key\n«0a1b2c3d4e5f60718293a4b5c6d7e8f9»\n$ ls",
    "$ security find-generic-password -s lab -w\n«marble-willow-cactus-27»",
    '{"command":"openssl rand -hex 8"}},{"output":"«8f3a1c0b9d7e6f52»\\n"}',
    "recovery keys:\n«111222-333444-555666-777888»\nand more",
    "backup codes:\n\n1. «a1b2c3d4e5»\n",
    'expect "password:"\nsend "«Willow7Cactus»\\r"',
    'the seed phrase is: "«lava muffin orbit pen quartz ribbon sad tunnel umpire vet wagon zebra»"',
    'bind_password = """«Willow?Cactus9»"""',
    "| x |\n\n    Password ........ «w9Kq2Zt»\n    Host ............ db1",
    'variable "db_password" {\n  type    = string\n  default = "«Willow88cactus»"\n}',
    ">>> secrets.token_hex(8)\n'«8f3a1c0b9d7e6f52»'\n>>> 1",
]

# Strings with a secret between "«" and "»", tested both unchanged and nested in JSON strings.
NAMED_IN_JSON = [
    *_lines(r"""
{"password":["«hunter2»"]}
{"password": [ "«hunter2»" ]}
{"password":{"value":"«hunter2»"}}
{"passwords":["«hunter2»"]}
{"secrets":"«hunter2abc»"}
{"tokens":["«abcdef123456»"]}
{"api_keys": ["«abcdef123456»"]}
{"value":"«hunter2»","name":"DB_PASSWORD"}
{"a": "password=\u001b[32m«hunter2»\u001b[0m"}
{"a": "\u001b[31mpassword\u001b[0m: \u001b[33m«hunter2»\u001b[0m"}
{"a": "password=\x1b[32m«hunter2»\x1b[0m"}
{"a": "password=\033[32m«hunter2»\033[0m"}
{"a": "password=\e[32m«hunter2»\e[0m"}
{"a": "hi\nAPI key: «q7Zk2LmX9vB4tR8sWc3NyH6pDf1GjT5a»"}
{"a": "Password:\n«hunter2x»\n"}
{"a": "password:\t«hunter2»"}
{"env":"STRIPE_KEY=«abcd1234efgh»\nA=1"}
{"command":"MYSQL_ROOT_PASSWORD: «letmein»\nX: y"}
{"content":"password: «letmein»"}
{"content": "SMTP_PASS: «letmeinnow»"}
{"a": 1, "content": "password: «correct-horse-battery-staple»\nuser: maya"}
"""),
    '{"client_secret":\n "«abcdefgh»"}',
    '["X-Api-Key",\n   "«abcdef123456»"]',
]

NAMED_IN_JSON += _lines(r"""
{"selector":"#password","text":"«Hunter22»"}
{"selector":"#password","text":"«Hunter\"22»"}
{"text":"«letmein»","selector":"#password"}
{"element": "Password field", "ref": "e12", "text": "«Hunter22»", "submit": true}
{"selector": "input[name=\"password\"]", "value": "«Hunter22»"}
{"code": "page.fill('input[name=password]', '«Hunter22»')"}
{"code": "page.fill(\"#password\", \"«letmein»\")\npage.click('#go')"}
{"secrets":{"db":"«Hunter22»"}}
{"passwords": {"maya": "«Hunter22»"}, "a": "b1234567"}
{"tokens":{"kind":"x","n":1,"access":"«abcd1234efgh5678»"}}
{"credentials":{"user":"maya99","value":"«Hunter22»"}}
""")
NAMED += _lines(r"""
page.fill('input[name=password]', '«Hunter22»')
page.type("#pwd", "«Hunter22»")
await page.locator('#password').fill('«letmein»');
driver.find_element(By.ID, 'password').send_keys('«Hunter22»')
page.get_by_label("Password").fill("«Hunter22»")
{'secrets': {'db': '«Hunter22»'}}
| password | «Hunter22» |
| DB_PASSWORD | `«Hunter22»` |
| **API key** | «abcd1234efgh» |
curl -u 'maya:«Hunter 22»'
curl -u "maya:«Hunter 22»" https://x
DB_PASSWORD=«p&ss=w0rd»
export DB_PASSWORD=«p&ss=w0rd»
""")
NAMED += _lines(r"""
const API_KEY: &str = "«abcd1234efgh5678»";
const API_KEY: &'static str = "«abcd1234efgh5678»";
const key = process.env.API_KEY || '«abcd1234efgh»'
const key = process.env.API_KEY ?? "«abcd1234efgh»";
Invalid API key provided: «abcd1234efgh5678ijkl»
login failed for user maya with password «Hunter22»
setenv DB_PASSWORD «Hunter22»
ngrok config add-authtoken «abcd1234efgh5678»
kubectl create secret generic x --from-literal=key=«abcd1234»
dsn: "maya:«Hunter22»@tcp(db:3306)/x"
hydra -l root -p «Hunter22» ssh://h
smbclient -U maya%«Hunter22» //h/x
smbclient -U 'maya%«Hunter22»' //h/x
evil-winrm -i h -u maya -p «Hunter22»
crackmapexec smb h -u maya -p '«Hunter22»'
nxc smb h -u maya -p «Hunter22»
xfreerdp /u:maya /p:«Hunter22» /v:h
Nov 28 09:14:02 host app[812]: password: «letmein»
app-1  | password: «letmein»
#12 0.345 password: «letmein»
2024-05-01T10:00:00.123Z stdout F api_key: «abcdefghijkl»
[2024-05-01 10:00:00] Password: «Letmein»
I0501 10:00:00.123 1 main.go:12] auth_token: «abcdefghijkl»
[pod/web-0/app] password: «letmein»
password: str = Field(default='«Hunter22»')
parser.add_argument('--password', default='«Hunter22»')
const token string = "«abcd1234efgh»"
char api_key[] = "«abcd1234efgh»";
SecretStr("«abcd1234efgh»")
WiFi.begin("Home", "«Hunter22»");
<b>password</b>: «Hunter22»
<input type="password" value="«Hunter22»">
{"cmd": ["curl", "-u", "maya:«Hunter22»", "https://h"]}
kubectl --token=«abcd1234.efgh5678» get pods
CREATE USER maya IDENTIFIED BY «Hunter22»;
ALTER USER 'maya'@'h' IDENTIFIED WITH mysql_native_password BY '«hunter»';
SET PASSWORD FOR maya = '«Hunter22»';
masterauth «Hunter22»
smtp://bob%40x.y:«Hunter22»@mail:587
let api_key = String::from("«abcd1234efgh»");
password: SecretString::new("«Hunter22»".into()),
set_api_key('«abcd1234efgh»')
.bearer_auth("«abcd1234efgh»")
.basic_auth("admin", Some("«Hunter22»"))
User.objects.create_user("maya", "b@x.y", "«Hunter22»")
server.login("maya", "«Hunter22»")
new NetworkCredential("maya", "«Hunter22»")
DriverManager.getConnection(url, "root", "«Hunter22»");
$db = new mysqli('localhost', 'root', '«Hunter22»', 'shop');
jwt.sign(payload, '«Hunter22»')
Fernet(b"«abcd1234efgh»")
curl_easy_setopt(c, CURLOPT_PASSWORD, "«Hunter22»");
password <- "«Hunter22»"
#define WIFI_PASS "«Hunter22»"
set -gx API_KEY '«abcd1234efgh»'
keytool -list -keystore k.jks -storepass «hunter»
nuget push a.nupkg -ApiKey «abcd1234efgh»
["app","--token","«abcd1234efgh»"]
<td>password</td><td>«Hunter22»</td>
<dt>API key</dt> <dd>«abcd1234efgh»</dd>
userPassword:: «Hunter22»
token = "«orange-Falcon-95»"
Use "«Hunter22»" as the password when it asks.
You can use «Tr0ub4dor-3x!» as your root password.
I've changed the root password from changeme to «Tr0ub4dorX3», as you asked.
It printed the generated password («Tr0ub4dorX3») to the console.
My password, «Tr0ub4dorX3», no longer works.
Found a hardcoded API key `«abcd1234efgh5678»` in config.py line 12.
I used the access token «abcd1234EFGH5678» to call the API.
Password for the db user `app1` is `«Tr0ub4dorX3»`.
Credentials are `«admin:Tr0ub4dorX3»` for staging.
Credentials: admin / «Tr0ub4dorX3»
Your one-time recovery code is «Tr0ub4dorX3»
пароль: «Tr0ub4dorX3»
WARN token «abcd1234EFGH5678» rejected
mosquitto_pub -h broker -u dev -P «Hunter22» -t a
mosquitto_passwd -b file maya «Hunter22»
vault login «abcd1234efgh5678»
vault login -no-print token=«abcd1234efgh5678»
net use Z: \\\\server\share «Hunter22» /user:maya
net use \\\\server\share /user:D\maya «Hunter22»
net user maya «Hunter22» /add
cmdkey /add:server /user:maya /pass:«Hunter22»
127.0.0.1:6379> AUTH «Hunter22»
ssh-keygen -t ed25519 -N '«Hunter22»' -f id
lftp -u maya,«Hunter22» sftp://h
rabbitmqctl add_user maya «Hunter22»
wpa_passphrase Home «Hunter22»
sudo -S whoami <<< '«hunter»'
kinit maya <<< «hunter»
poetry config pypi-token.pypi «abcd1234efgh5678»
composer config http-basic.repo.example.org maya «abcd1234efgh5678»
mc alias set m http://h:9000 maya «Hunter22»
["mysql","-uroot","-p«hunter»"]
swaks -t a@b.c -au u -ap «Hunter22»
contraseña: «Hunter22»
Mot de passe : «Hunter22»
Das Passwort lautet: «Hunter22»
""")
NAMED_IN_LINES += [
    "password\t«Hunter22»",
    "user\tmaya\nDB_PASSWORD\t«Hunter22»\nhost\tdb",
    'A=1\nB_TOKEN="«multi\nline12secret»"\nC=2',
    '{"\x1b[01;31m\x1b[Kpassword\x1b[m\x1b[K": "«Hunter22»"}',
    "https://maya:\x1b[31m«Hunter22»\x1b[0m@h",
]
NAMED_IN_JSON += _lines(r"""
{"a": "la contrase\u00f1a: «Hunter22»"}
{"a": "dsn: \"maya:«Hunter22»@tcp(db:3306)/x\""}
{"a": "const key = process.env.API_KEY || \"«abcd1234efgh»\""}
{"a": "smbclient -U \"maya%«Hunter22»\" //h/x"}
{"a": "user\tmaya\nDB_PASSWORD\t«Hunter22»\nhost\tdb"}
{"a": "| a | b |\n| password | «Hunter22» |\n"}
{"a": "B_TOKEN=\"«multi\nline12secret»\""}
{"a": "DB_PASSWORD=«p&ss=w0rd»\nB=1"}
{"a": "{\"\u001b[01;31m\u001b[Kpassword\u001b[m\u001b[K\": \"«Hunter22»\"}"}
{"a": "https://maya:\u001b[31m«Hunter22»\u001b[0m@h"}
""")

# Secrets in columns.
NAMED_IN_JSON += _lines(r"""
{"a": "id,username,password,email\n1,bob,«Hunter22»,b@x.y\n"}
{"a": "user,password\nbob,«letmein»"}
{"a": "host;user;pass\nh1;root;«Hunter22»\n"}
{"a": "id\ttoken\n7\t«abcd1234efgh5678»\n"}
{"a": "| user | password |\n|------|----------|\n| bob | «Hunter22» |\n"}
{"a": "+----+----------+\n| id | password |\n+----+----------+\n|  1 | «Hunter22» |\n"}
{"a": " id | token \n----+-------\n  1 | «abcd1234efgh5678»\n(1 row)"}
{"a": " token \n-------\n «abcd1234efgh5678»\n(1 row)"}
{"a": "NAME   TOKEN\nci     «abcd1234efgh5678»\n"}
{"a": "      name     password\n0      bob     «Hunter22»\n"}
{"a": "INSERT INTO users (name, password) VALUES ('bob', '«letmein»');"}
{"a": "insert into t(id, token, b)\nvalues (1, '«abcd1234efgh5678»', now())"}
{"a": "COPY users (id, password) FROM stdin;\n1\t«Hunter22»\n\\."}
""")
NAMED_IN_LINES += [
    '"name","api_key"\n"a, b","«abcd1234efgh5678»"\n',
    "│ id │ password │\n├────┼──────────┤\n│ 1  │ «Hunter22» │\n└────┴──────────┘",
    "a,b\r\nuser,password\r\nbob,«Hunter22»\r\n",
]

# Strings with several secrets, tested both unchanged and nested in JSON strings.
NAMED_TWICE = _lines(r"""
INSERT INTO u (a, password) VALUES ('bob','«letmein»'),('al','«it''s me»'),('x', NULL)
{"a": "user,password\nbob,«Hunter22»\nal,«Hunter33»\n\nsee, Hunter44"}
Authorization: Digest username="maya", realm="r", response="«0123456789abcdef0123456789abcdef»"
Authorization: OAuth oauth_consumer_key="«key12345678»", oauth_token="«tok12345678»", oauth_nonce="a1b2c3d4", oauth_signature="«sig12345678»"
curl -H 'Authorization: OAuth oauth_token="«tok12345678»", oauth_signature="«sig12345678»"' https://x
~ "API_KEY" = "«q7Zk2LmX9vB4tR8s»" -> "«Wc3NyH6pDf1GjT5a»"
The password for bob is «w1llow88cactus», for alice it's «Cactus#Willow88»
""")  # noqa: E501 - realistic lines are long
NAMED_TWICE.append('s3 = client("«AK' + f'IA{upper(16)}»", "«{alnum(20)}/{alnum(18)}+»")')

CLEAN_IN_LINES = [
    "id,username,email\n1,bob1,b1@x.y\n",
    "| field | type |\n|---|---|\n| password | varchar(255) |",
    "| Option | Default |\n|---|---|\n| password | none |",
    "user,password\nbob,<password>\n",
    "call(\n    parser,\n    token,\n    func=page1,\n)",
    "INSERT INTO users (name, password) VALUES (?, ?)",
    "INSERT INTO users (name, password) VALUES ('x', NULL)",
    "INSERT INTO users (name, email) VALUES ('bob1', 'b1@x.y')",
    "Enter user, password\nand then, ab345678",
    '{"password": ["This field is required."]}',
    '{"tokens": ["identifier", "keyword"], "tokens": [1234567890, 1]}',
    '{"tokens": 12345678, "secrets": null, "passwords": []}',
    "password:\n  min_length: 8\n  item1: x2\n",
    "token:\n- name1\n- name2\n",
    "PASSWORD=\nB2=3456\n",
    '{"env": "PASSWORD=\\nB2=3456"}',
    "Password:\nmaya@host1:~$ ls",
    "Password:\nLast login: Monday",
    "if authorization:\n    authorization = authorization.split()\n",
    "fields = 'keep_all_tokens', 'expand1', 'priority'",
    "$ openssl rand -base64 32 > key\nbackup2026.tar\n",
    "$ openssl rand -hex 32\nscripts/run1.sh\n$ ls",
    "$ cat README1.md\nversion2\n",
    "$ echo $HOME\n/home/user1\n",
    "$ printenv LANG\nen_US.UTF-8\n",
    "$ pass show work/db\nError: work/db is not in the password store.",
]

CLEAN = _lines(r"""
password = get_password()
password = getpass.getpass("Password: ")
token = os.environ["TOKEN"]
token = os.environ.get("TOKEN")
"password": "string"
{"password": {"type": "string"}}
password: str
password: str = ""
password: Optional[str] = None
password: String,
token: string;
password=<your-password>
"password": "<password>"
PASSWORD=${PASSWORD}
TOKEN=$TOKEN
password="$PASSWORD"
password=$1
password=%s
password={password}
password="{{ password }}"
password: ***
password: ********
api_key=xxxx
api_key: "xxxxxxxx"
api_key = "your-api-key"
api_key = "YOUR_API_KEY"
API_KEY=your_api_key_here
"token": "<token>"
password = None
password: null
"password": null
password=None
"password": true
password=[masked]
"password": "[masked]"
password: [REDACTED]
"token": "*[REDACTED]"
9f86d081884c7d659a2feaa0c55ad015a3bf4f1b
commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
123e4567-e89b-12d3-a456-426614174000
{"id": "123e4567-e89b-12d3-a456-426614174000"}
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
the password is wrong
the password is incorrect, try again
token: expired
secret: no
"token": "expired"
"token": "invalid"
Enter password:
Password:
Password: 
password for maya:
forgot your password? Click here
The password must have 8 characters.
password is 8 characters
Your token is about to expire.
max_tokens: 4096
"max_tokens": 4096
"token_count": 12345678
tokens = 123456
"total_tokens": 123456
"token_type": "bearer"
"next_page_token": "CAUQAA"
"key": "value12345"
key=abc123def
keyboard: "qwerty1234"
"public_key": "abcdef12345"
primary_key=True
"secret_name": "prod/db1"
password_hash_rounds = 120000
password_field = "user_pass1"
secret_id: 12345
def login(user, password):
def login(user: str, password: str) -> Token:
login(user, password=password)
login(user, password=self.password)
login(user, password=pw)
connect(user=user, password=args.password, token=token)
if password == other:
if not password: return
password = request.POST["password"]
password = data.get("password")
password=row[1]
const token = await getToken();
const token = req.headers.authorization;
token = self.lexer.next_token()
token := parser.Next()
let password = String::new();
let token: Option<String> = None;
let secret = Secret::from(value);
[ -z "$PASSWORD" ] && exit 1
read -s PASSWORD
echo $PASSWORD
export PASSWORD="$(cat /run/secrets/db)"
export TOKEN=$(vault read x)
export TOKEN=`cat token`
docker run -e PASSWORD x
mysql -u root -p db
mysql -p
curl -u "$USER:$PASSWORD" https://x
curl -H "Authorization: Bearer $TOKEN" https://x
curl -H "Authorization: Bearer ${TOKEN}" https://x
curl -H "Authorization: Bearer <token>" https://x
headers={"Authorization": f"Bearer {token}"}
"Authorization": "Bearer " + token
curl -b cookies.txt https://x
curl -u https://x
https://example.org:8080/path@2
https://example.org/@maya/1
git@github.com:maya/x.git
ssh://git@github.com/maya/x.git
postgres://user:${PASSWORD}@db/shop
postgres://user:<password>@db/shop
postgres://user:{password}@db/shop
mailto:maya@example.org
https://example.org/?page_token=abc123
https://example.org/?token=<token>
https://example.org/?token=$TOKEN
var url = "?password=" + password + "&x=1"
url = '?token=' + token;
["username", "password1", "password2"]
("password", "secret", "token")
print("password", password)
logger.info("token: %s", token)
f"password: {password}"
<input type="password" name="password">
<label for="password">Password</label>
from django.contrib.auth import authenticate
import secrets; secrets.token_urlsafe(32)
AUTH_PASSWORD_VALIDATORS = [
SESSION_COOKIE_SECURE = True
authentication: required
author: Maya 2024
"cookies": ["a"]
cookie: Cookie
cookies: SimpleCookie
-----BEGIN PUBLIC KEY-----
-----BEGIN CERTIFICATE-----
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ
sk-learn is a library
ghp_ is how they begin
AKIA
eyJ
The task-based approach uses sk-like names such as sk-some-long-name-with-words
pass: 12
bypass=true12345
passenger: "Maya Smith1"
compass: "north1234"
12:34:56:78:90:12
Password is incorrect.&quot;);
[set up the credentials]: https://example.org/setting-up-credentials
{"name": "password", "value": ""}
{"name": "title", "value": "hunter2"}
["-----BEGIN PRIVATE KEY-----", 1000000000000000000, true]
{"password": "The password must have eight letters."}
{"name": "password", "value": 12345}
the password "field" is required
Exceptions are identified by class instances.
PWD=/home/maya/work
{"pwd": "/home/maya/work1"}
{"env": "{\"PWD\": \"/home/maya/work1\"}"}
messages:{pass:"All cells have headers 1"}
reset_url_token = "set-password"
dependencies = [("auth", "0007_alter_validators_add_error_messages")]
credentials:"same-origin",
def return_ok_port(self, cookie: Cookie, request: Request) -> bool: ...
current_token: TemplateLiteral
if (token === 'threshold')
{password:!0,image:!0}
{"session_id":"telegram_5521337_1"}
existingSecret: my-db-secret-v2
secret: projects/p1/secrets/s2/versions/3
credentials=~/.aws/credentials2
credentials: include2
token = 'identifier'
the authorization: see section 4.2.1b
Authorization: required for all 3 routes
token: 12345678 at position
zip -P x.zip
mongo -p 27017
docker run --name mongo -p 27017:27017 mongo:7
ldapsearch -w 10
docker build --secret id=npm .
sk-learn-contrib-package-name-2024x
Set-Cookie: a=; Max-Age=0
s3://bucket:key@x
postgres://user:password@db/shop
PASS: addr2line
the --ftp-user and --ftp-password command switches
ID_TOKEN = "ErrorIdToken"
auth = f"{url.username}:{url.password}"
BEARER = "Bearer"
http://a:b@localhost/
DB_PASSWORD=os.environ["X"]
TOKEN=self.token
secret: vault:secret/data/x#key
secret: arn:aws:secretsmanager:us-east-1:123456789012:secret:MySecret-a1b2c3
echo hello | openssl base64
password for maya: wrong again
echo $PASSWORD | sudo -S ls
echo "$PASSWORD" | docker login -u x --password-stdin
auth=("bob", password)
auth=("user", "password")
user.setPassword("password")
<c name="password">Password</c>
<input type="password" name="password" value="">
<input name="title" value="hunter2">
https://x.example.org/?next=%2Flogin%3Fuser%3Dhunter2
password_hint: |
PASS: binutils-all/pr20
token = oauth2_token
{password: password1, token: token2}
password = self.token2.value
withCredentials:false,timeout:0
The token is read by the state-of-the-art lexer
The PIN header has 40 pins, pin 2 is 5V, spin 1234 times
cache key: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
mapbox.accessToken = 'pk.eyJ1IjoibWF5YSIsImEiOiJxN1prMkxtWCJ9.q7Zk2LmX9vB4tR8sWc3Nyw'
STRIPE_PUBLISHABLE_KEY=pk_test_q7Zk2LmX9vB4tR8s
Basic authentication is required for aGVsbG8
https://example.org/list?key=users-by-name-v2&code=200
send "AT+CSQ\r"
variable "region" { default = "eu-central-1" }
{"kty":"EC","crv":"P-256","x":"q7Zk2LmX9vB4tR8sWc3NyH6p","y":"q7Zk2LmX9vB4tR8sWc3NyH6p"}
""")

CLEAN += _lines(r"""
https://3f9a1b2c4d5e6f708192a3b4c5d6e7f8@o12345.ingest.sentry.io/4501234567890123
OPENAI_API_KEY=sk-...
OPENAI_API_KEY=sk-…
ANTHROPIC_API_KEY=sk-ant-xxxxx
tiktoken: cl100k_base
password => $request->password
Authorization: Basic realm="x1"
OPENAI_API_KEY=sk-your-openai-key
usage: app [--password PASSWORD] [--token TOKEN]
AUTH=enabled
'password' => 'The provided password is incorrect.',
{"password": "Password", "current_password": "Kennwort"}
password = getpass("Enter the 2nd password: ")
token = os.getenv("API_TOKEN_2")
get_password("user_password2")
password = password.encode("latin1")
the token for version 1.24.3-rc1 of python3.11
the password of maya2024 is checked in auth2.py
The secret is in /etc/app1/secret2 or at bob1@example.org
tokenizer: cl100k_base
tiktoken_name: cl100k_base
The token was made by commit 9f86d081884c7d659a2f
ECDSA P-256 private key in PKCS#8 format
an error token for ISO Modula-2
a token of the GPT-4o model costs 0.002USD
the access key in us-east-1a since 2024-05-01
use sha256 as the secret key function
vault login -method=userpass username=bob1
vault login fails
net use Z: /delete
net user maya /active:yes
the user should net use 5 lines
mosquitto_sub -p 1883 -t a
ssh-keygen -t ed25519 -N '' -f id
mysql -p3306x.sql.zip
mkdir -p tmp1/a2
sudo -S ls <<< "$PASSWORD"
poetry config pypi-token.pypi $TOKEN1
cargo login --help
wandb login --relogin
sk-proj-your-openai-key-goes-here
sk-ant-api03-xxxxxxxxxxxxxxxxxxxx
ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
.sk-fading-circle12 .sk-circle-fade-dot-before2
pa-rental-agreement-of-the-year-2024-signed
BSA-is-not-a-key-but-a-name-of-words-2024
re_compile_all_the_patterns_of_tokens_2
live_update_interval_in_seconds_for_pages
test_password_reset_token_expires_after_1h
hf_transformers_tokenizers_version_4_41
api-gateway-service-account-token-rotation
PRIMARY_KEY=abcd1234efgh
PUBLIC_KEY=abcd1234efgh
CACHE_KEY = "abcd1234efgh"
{"SORT_KEY": "user1234name"}
KEY=abcd1234efgh
STRIPE_KEY=your-key-here-1234
STRIPE_KEY=$STRIPE_KEY_2
STRIPE_KEY=short1
STRIPE_KEY = os.environ["STRIPE_KEY1"]
REDIS_KEY = "users:by_name:v2"
MAX_PAT=12345678
{"content":"password: required"}
{"selector":"#username","text":"Hunter22"}
{"id":"password","text":"Password"}
{"name":"password","text":"Enter your password"}
{"selector":"#password","text":"<password>"}
[{"selector":"#password"},{"selector":"#title","text":"Hunter22"}]
page.fill('#password', password)
page.fill('#password', 'password')
page.fill('#user', 'Hunter22')
{"tokens":{"input":12345678,"model":"gpt-4o2"}}
{"tokens":{"primary":"#a1b2c3","size":"12.5px"}}
{"secrets":{"db":"${DB_SECRET1}","inner":{"a":"b1234567"}}}
| user | password |
| password | password2 |
| password | VARCHAR(255) |
| token | The token of the user1 |
https://example.org/?PASSWORD_X=a&b=1
Token: '#dcdccc'
{"selector":"#password-help","text":"Use 8 characters"}
{"id":"password","content":"h1. Heading"}
SSH_KEY=/home/maya/.ssh/id_ed25519
GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D
Token: #dcdccc
.. _`Bearer Token`: https://example.org/rfc6750
["passwd:gecos", "x"]
  "passwd:gecos",
{"completion_token":12345678}
key = process.env.API_KEY || ''
const token = cookie.token || "default"
if (!token || 'a1' === x)
failed with password authentication
Invalid API key provided: please check
mot de passe : obligatoire
nxc smb 10.0.0.1 -p 445
["passwd:gecos", "password: must be set"]
""")

SECRET_NAMES = _lines(
    """
password Password db_password DB_PASSWORD userPassword passwd passphrase pgpassword pwd
MYSQL_PWD DB_PASS api_key apiKey apikey X-Api-Key API_KEY OPENAI_API_KEY secret client_secret
clientSecret AWS_SECRET_ACCESS_KEY secret_key SECRET_KEY_BASE private_key privateKey token
auth_token authToken access_token refresh_token id_token bot_token GITHUB_TOKEN authorization
Authorization Proxy-Authorization Cookie Set-Cookie sessionid PHPSESSID JSESSIONID password1
new_password password_hash encryption_key signing_key credential jwt
""".replace(" ", "\n")
)

OTHER_NAMES = _lines(
    """
max_tokens token_count tokens next_page_token password_hash_rounds secret_name token_type key
public_key keyboard primary_key cache_key user username author authority passenger compass
bypass monkey tokenizer secretary password_file token_url secret_id page_token eos_token
password_policy cookie_name session ключ session_id sessionId XDG_SESSION_ID existingSecret
""".replace(" ", "\n")
)

# Substrings that property tests combine at random.
PIECES = [
    "password", "token", "api_key", "=", ": ", ":", '"', "'", "\\", "\\n", "\n", " ", ",", ";", "&",
    "?", "{", "}", "[", "]", "(", ")", "$", "<", ">", "`", "hunter2", "Letmein", "abc", "1", "é",
    "Authorization", "Bearer ", "Cookie", "a=b", "://", "@", "curl -u ", "curl ", "mysql ", "-p",
    "--password ", "-----BEGIN PRIVATE KEY-----", "-----END", "eyJ", ".", "login a password ",
    "\ud800", "\0", "İ", "is", "**", "</password>", "name", "value",
    "\x1b[32m", "\\u001b[m", "%3D", "%2F%2F", "%3A", "%40", "echo ", " | sudo -S", " for ", "|",
    "-----END PRIVATE KEY-----", "passwords", "secrets", "→", "auth=(", "PASSWORD", "\xa0", "\t",
    'name="password"', ' value="', "A_KEY", "ab12cd34ef", '"selector":', '"text":', "#password",
    "fill(", "| ", "credentials", "{", "\t", "&b=", "||", "response=", "curl -u 'a:", "Digest a=",
    "\x1b[K", "sqlplus a/", "aws configure set my_secret ", "setx API_TOKEN ",
]  # fmt: skip

# Each of these is repeated many times; masking the result must not take too long.
HOSTILE = [
    "pass,", "pass,\n", "a,pass\n", "pass\\n", "| pass |\n", "pass  ", '"pass",', "pass\\t",
    "insert into a(password)values(", "insert into a(password)values('a'),", "copy a(pass,",
    "password=", '"', "a:a@", "\\\\", "\\", "eyJ.", "eyJ", "-----BEGIN", "sk-", " ", "password='",
    'password="\\"', "://a:", "curl -u a:a", "password=$(", "Cookie: a=", "<password>", "auth\n",
    "-----BEGIN PRIVATE KEY-----", "password: a,b", '{"password":"a \'', "password=\\\\", ".",
    "password=\\'+ a ", 'password=\\\\"+ a ', 'password=\\\\\\"+ a ', "password=`+ a ",
    "-----END PRIVATE KEY-----", alnum(29) + " ", "-----END PRIVATE KEY-----" + alnum(40) + "\n",
    "sk-a-", "password=a&", "password=\n", "curl --cookie a=", "'password':[",
    '"secrets":{"value":', "_KEY=", 'A_KEY="', '{"id":"password","text":"', '"text":"password',
    "|password|", "\ta1b2", "| a ", 'A_TOKEN="a\n', "PASSWORD=&a=", "\nPASSWORD=&a=",
    "curl -u 'a:a ", "://a:\x1b[31m",
    "fill('password','", "fill('", '{"secrets":{"a":"b",', '"secrets":{',
    "openssl rand a1\n", "pass show ", "echo $token", "a1b2c3d4\n", 'pass show "}', "cat token\n",
    "'kty", "variable \"pass\" { default ", "private-lines: 1\n", "a1b2c3d4e5f6\n",
    "akia" + "a" * 16 + " ", "key1 ", "basic YTpi ", "password is a-b-c ", " pin ",
    "password it's ", 'password=""', 'password="""a', 'token a1" -> ', "mnemonic ", "lava ",
    "recovery key:\n",
    'password is "lava ', "password ....", ';password={', 'send "a', "&key=", "pass -> a1 ",
]  # fmt: skip
